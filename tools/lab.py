"""Open the lessons in JupyterLab, as copies that are the reader's own: `make lab`.

python -m tools.lab                       # the copies are in build/my-lessons
python -m tools.lab --folder ~/lessons    # or wherever one wants them
python -m tools.lab --folder notebooks    # the lessons themselves, for their authors

JupyterLab gets all other options.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import queue
import sys
from pathlib import Path
from typing import Any

from jupyter_client.session import Session
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from nbformat import NotebookNode

from tools.my_lessons import KEPT, LESSONS, PAGE, ROOT, SOURCE, Copies

MINE = ROOT / "build/my-lessons"
SETTINGS = ROOT / "tools/jupyter"  # no news; Markdown is shown and not edited; panels out of sight stay on the page
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
PATIENCE = 5  # seconds in which a kernel says which widgets it has; it does so even while it computes


class ReadersFiles(AsyncLargeFileManager):
    """The files that JupyterLab shows, with a still picture in place of each panel whose kernel is gone.

    A panel's output holds a widget's view, and for pages without a kernel a picture and a text. JupyterLab shows the
    view wherever there is one, and where its model is gone, as after the kernel was shut down, it shows an error.
    """

    async def get(
        self,
        path: str,
        content: bool = True,
        type: str | None = None,
        format: str | None = None,
        require_hash: bool = False,
    ) -> dict[str, Any]:
        """Return a file as JupyterLab is to show it. The file on disk stays as it is."""
        model = await super().get(path, content, type=type, format=format, require_hash=require_hash)
        if content and model["type"] == "notebook":
            views = [data for data in _outputs(model["content"]) if WIDGET_VIEW in data]
            models = await self._models(path.strip("/")) if views else set()
            for data in views:
                if data[WIDGET_VIEW].get("model_id") not in models:
                    del data[WIDGET_VIEW]
        elif content and path.strip("/") == PAGE:
            model["content"] = await asyncio.to_thread(Copies(Path(self.root_dir)).page)
        return model

    async def save(self, model: dict[str, Any], path: str = "") -> dict[str, Any]:
        """Save a file. The state of widgets is left out of a notebook: it is large, and no kernel takes it back."""
        if model.get("type") == "notebook" and model.get("content"):
            model["content"].get("metadata", {}).pop("widgets", None)
        return await super().save(model, path)

    def _base_model(self, path: str) -> dict[str, Any]:
        """Return what is said of any file. The start page is written anew each time, and the checkout stays clean."""
        model = super()._base_model(path)
        if path.strip("/") == PAGE or path.strip("/").startswith(f"{SOURCE}/"):
            model["writable"] = False
        return model

    async def _models(self, path: str) -> set[str]:
        """Return the ids of the widgets that live in a kernel of the notebook at `path`."""
        found: set[str] = set()
        for session in await self.parent.session_manager.list_sessions():
            if session["path"] == path:
                found |= await widgets_of(self.parent.kernel_manager.get_kernel(session["kernel"]["id"]))
        return found


def _outputs(notebook: NotebookNode) -> list[dict[str, Any]]:
    return [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]


async def widgets_of(kernel: Any) -> set[str]:
    """Return the ids of a kernel's widgets, or none if it does not answer: it may have died.

    The kernel is asked over its control channel, where it answers even while it runs a cell.

    Args:
        kernel: the kernel's manager, an `AsyncKernelManager`.
    """
    session = Session(key=kernel.session.key, signature_scheme=kernel.session.signature_scheme)
    client = kernel.client(session=session)  # a session of its own, because others may be asking at the same time
    client.start_channels(shell=False, iopub=False, stdin=False, hb=False, control=True)
    try:
        client.control_channel.send(session.msg("comm_info_request", {"target_name": "jupyter.widget"}))
        reply = await client.get_control_msg(timeout=PATIENCE)
        return set(reply["content"].get("comms", {}))
    except queue.Empty:
        return set()
    finally:
        client.stop_channels()


def options_for(folder: Path) -> list[str]:
    """Return the options with which JupyterLab shows the copies in a reader's `folder`, or the lessons themselves."""
    is_authors = folder == LESSONS
    options = [
        "--allow-root",
        f"--ServerApp.root_dir={ROOT if is_authors else folder}",
        "--ServerApp.contents_manager_class=tools.lab.ReadersFiles",
        f"--LabApp.default_url=/lab/tree/{folder.name if is_authors else PAGE}",
    ]
    return options if is_authors else [*options, f"--LabApp.workspaces_dir={folder / KEPT / 'workspaces'}"]


def main(arguments: list[str] | None = None) -> int:
    """Bring the reader's copies up to date, and become JupyterLab. Return 2 if the folder cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.lab",
        description="Open the lessons in JupyterLab, as copies that are yours. JupyterLab gets all other options.",
        allow_abbrev=False,
    )
    parser.add_argument("--folder", type=Path, default=MINE, help="where your copies are; default: build/my-lessons")
    options, others = parser.parse_known_args(arguments)
    folder = options.folder.expanduser().resolve()
    if folder != LESSONS:
        if ROOT in (folder, *folder.parents) and ROOT / "build" not in folder.parents:
            parser.error(f"--folder {options.folder} is a part of the checkout: name one in build/, or outside of it")
        try:
            said = Copies(folder).update()
        except OSError as error:
            parser.error(f"--folder {options.folder} cannot be used: {error}")
        print(*said, f"Your lessons are in {folder}.", sep="\n", flush=True)
    theirs = os.environ.get("JUPYTER_CONFIG_PATH")
    os.environ["JUPYTER_CONFIG_PATH"] = f"{SETTINGS}{os.pathsep}{theirs}" if theirs else str(SETTINGS)
    os.chdir(ROOT)  # where JupyterLab finds `tools`
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", *options_for(folder), *others])


if __name__ == "__main__":
    sys.exit(main())
