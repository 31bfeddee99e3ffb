"""The learners: one idea a file, with its equation on top. `learner.py` says what they all offer."""

from .alpaca import ALPaCA as ALPaCA
from .anil import ANIL as ANIL
from .causal_transformer import CausalTransformer as CausalTransformer
from .conditional_neural_process import ConditionalNeuralProcess as ConditionalNeuralProcess
from .contrastive import Contrastive as Contrastive
from .deep_kernel import DeepKernelTransfer as DeepKernelTransfer
from .finetuning import FineTuning as FineTuning
from .koch import Koch as Koch
from .learner import Learner as Learner
from .maml import MAML as MAML
from .matching import MatchingNet as MatchingNet
from .meta_sgd import MetaSGD as MetaSGD
from .multi_step_loss import MultiStepLoss as MultiStepLoss
from .n_pair import NPair as NPair
from .neighbours import NeighbourhoodComponents as NeighbourhoodComponents
from .oml import OML as OML
from .per_step_rates import PerStepRates as PerStepRates
from .policy_maml import PolicyMAML as PolicyMAML
from .prototypical import PrototypicalNet as PrototypicalNet
from .reads_pictures import ReadsPictures as ReadsPictures
from .recurrent import RecurrentLearner as RecurrentLearner
from .recurrent_policy import RecurrentPolicy as RecurrentPolicy
from .reptile import Reptile as Reptile
from .sparse_maml import SparseMAML as SparseMAML
from .supervised_contrastive import SupervisedContrastive as SupervisedContrastive
from .triplet import Triplet as Triplet
