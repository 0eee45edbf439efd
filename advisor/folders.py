"""Where llmfit's own files lie: settings, catalogue rows, caches and what was measured. One rule for all.

A variable names each place, and ``~`` in it is the home folder; without it, it is where the system keeps such
things. Nothing here raises, and nothing that is named need exist: ``~nobody`` of no such user stays as it is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

CONFIG_VARIABLE = "LLMFIT_CONFIG"
CATALOG_VARIABLE = "LLMFIT_CATALOG"
CACHE_VARIABLE = "LLMFIT_CACHE"
DATA_VARIABLE = "LLMFIT_DATA"
_NAME = "llmfit"


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """The file of settings: ``$LLMFIT_CONFIG``, else ``config.toml`` in llmfit's configuration folder."""
    return _named(environ, CONFIG_VARIABLE) or _config_folder() / "config.toml"


def catalog_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The user's own catalogue rows: ``$LLMFIT_CATALOG``, else ``catalog`` in the configuration folder."""
    return _named(environ, CATALOG_VARIABLE) or _config_folder() / "catalog"


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """What can be learnt again: ``$LLMFIT_CACHE``, else llmfit's folder among the user's caches."""
    named = _named(environ, CACHE_VARIABLE)
    if named is not None:
        return named
    import platformdirs  # costs 10 ms: only where no folder was named

    return Path(platformdirs.user_cache_dir(_NAME, appauthor=False))


def data_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """What was measured: ``$LLMFIT_DATA``, else llmfit's folder for data of this user."""
    named = _named(environ, DATA_VARIABLE)
    if named is not None:
        return named
    import platformdirs

    return Path(platformdirs.user_data_dir(_NAME, appauthor=False))


def home_folder() -> Path | None:
    """``None`` where this process has none (a service)."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def _named(environ: Mapping[str, str], variable: str) -> Path | None:
    text = environ.get(variable)
    return Path(os.path.expanduser(text)) if text else None  # noqa: PTH111 Path raises for the home of nobody


def _config_folder() -> Path:
    import platformdirs

    return Path(platformdirs.user_config_dir(_NAME, appauthor=False))
