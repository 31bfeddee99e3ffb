"""Where tasks come from: sine waves, Omniglot, invented glyphs; and what a learner sees of a task, an `Episode`."""

from . import glyphs as glyphs
from . import linear as linear
from . import navigation as navigation
from . import omniglot as omniglot
from . import sine as sine
from .challenge import one_shot_challenge as one_shot_challenge
from .characters import Characters as Characters
from .characters import Groups as Groups
from .distortions import distort as distort
from .episode import Episode as Episode
from .episode import as_episode as as_episode
from .pairs import Pairs as Pairs
from .pairs import as_pairs as as_pairs
from .sine import Sine as Sine
