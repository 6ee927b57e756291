"""`waxell_observe` under `waxlocal run`: answered by waxlocal where that is installed.

This directory comes first on the path of every Python that the program starts, and so also of one
that has no waxlocal. There the original is used; hence nothing but the standard library here, and
no syntax of the last years.
"""

import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120


def _use_original() -> None:
    """Put the installed `waxell_observe` in the place of this module; say that nothing records."""
    sys.path[:] = [place for place in sys.path if os.path.abspath(place) != _HERE]  # noqa: PTH100
    for finder in sys.meta_path:
        spec = finder.find_spec(__name__, None)
        if spec is not None and spec.loader is not None:
            break
    else:
        raise ModuleNotFoundError(
            f"No module named 'waxell_observe', and no waxlocal in {sys.executable}. "
            "Try: pip install waxlocal, in the environment of that Python",
            name=__name__,
        )
    sys.stderr.write(
        f"waxlocal: {sys.executable} has no waxlocal. It uses the waxell_observe that is installed "
        "there, and records nothing into the local file.\n"
    )
    # The import statement returns what sys.modules holds after this module was executed.
    sys.modules[__name__] = original = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(original)


if importlib.util.find_spec("waxlocal") is None:
    _use_original()
else:
    from waxlocal.shim import names

    __all__, __version__ = names.__all__, names.__version__
    for _name in (*names.__all__, *names.UNLISTED):
        globals()[_name] = getattr(names, _name)
    # Submodules, too: `waxell_observe.client` after `import waxell_observe`.
    __getattr__ = names.submodule
