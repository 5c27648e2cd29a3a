"""How all pictures look: dark on light, colours that colour-blind people tell apart, shapes beside colours."""

from __future__ import annotations

import importlib.util
import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ConfigurationError, InvalidInputError, Problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION, SKY, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#6B6B6B"
"""Okabe and Ito (2008): distinct with any colour vision."""
TEXT = "#1A1A1A"
SHARES = (-0.06, 1.06)
"""Ends of an axis from 0 to 1, with room for a whole mark at either."""
_MISSING = "pictures need matplotlib: pip install 'evoline[plots]'"
_SETTINGS: Any = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "text.color": TEXT,
    "axes.labelcolor": TEXT,
    "axes.edgecolor": "#8A8A8A",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "text.parse_math": False,
    "svg.hashsalt": "evoline",
    "svg.fonttype": "path",
}


def require_matplotlib() -> None:
    """Before anything is waited for that is to be drawn. Raises `ConfigurationError` where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigurationError(_MISSING)


def drawn(draw: Callable[[Figure], None], *, width: float = 8.0, height: float = 4.5) -> Figure:
    """A figure of so many inches. Raises `ConfigurationError` where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure as NewFigure
    except ImportError as error:
        raise ConfigurationError(_MISSING) from error
    with _settings():
        figure = NewFigure(figsize=(width, height), layout="constrained")
        draw(figure)
        return figure


def save_png(figure: Figure, file: Path) -> None:
    """Raises `InvalidInputError` where the file cannot be written."""
    try:
        with _settings():
            figure.savefig(file, format="png", dpi=150, metadata={"Software": "evoline"})
    except OSError as error:
        raise cannot_write(file, error) from error


def as_svg(figure: Figure) -> str:
    """To stand inside a page: without prologue, as wide as its place."""
    buffer = io.StringIO()
    with _settings():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    inner = text[text.index("<svg") :].replace("<svg ", '<svg class="picture" ', 1)
    plain = re.sub(r"<!--.*?-->", "", inner, flags=re.DOTALL)  # every text as it was given, which is drawn as paths beside it
    return re.sub(r' xmlns(:xlink)?="[^"]*"', "", plain)


def cannot_write(file: Path, error: OSError) -> InvalidInputError:
    return InvalidInputError(Problem(file=str(file), reason=f"cannot be written: {error.strerror}"))


def legend(figure: Figure, of: Axes, columns: int) -> None:
    """Below all, each label once; none where there is nothing to explain."""
    handles, labels = of.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    if unique:
        figure.legend(list(unique.values()), list(unique), loc="outside lower left", ncols=columns)


@contextmanager
def _settings() -> Iterator[None]:
    import matplotlib as mpl

    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the page's table holds every text in full
        yield
