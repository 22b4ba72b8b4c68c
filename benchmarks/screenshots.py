"""Pictures of the pages for the README, taken by a Chromium that is installed: run it after `make demo`.

    .venv/bin/python benchmarks/screenshots.py --run runs/demo     # writes docs/report.png and docs/run.png

The same browser measures for the tests how wide a page lies on a narrow screen. No browser comes with the project:
Debian's packages `chromium` and `chromium-headless-shell` have one.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=3000")
DARK = "--blink-settings=preferredColorScheme=0"
WIDTH_PX, SCALE = 1120, 1.5  # of the pictures: the page's widest, and sharp on fine screens
MAX_BYTES = 300_000
PAGES = ("report", "run")
HEIGHT_PX = 1660  # of a page's top
_PROBE = """<script>addEventListener("load", () => {
  const root = document.documentElement, wide = [...document.querySelectorAll("main *")].filter((element) => {
    const box = element.getBoundingClientRect();
    return box.width && (box.right > root.clientWidth + 0.5 || box.left < -0.5);
  });
  const written = (element) => element.ownerSVGElement  // an SVG may be shrunk, and its letters with it
    ? element.getBoundingClientRect().height : parseFloat(getComputedStyle(element).fontSize);
  const small = [...document.querySelectorAll("main *")].filter((element) =>
    [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) &&
    element.getBoundingClientRect().width && written(element) < 11);
  const name = (element) => `${element.tagName.toLowerCase()} ${element.textContent.slice(0, 30)}`;
  root.dataset.width = root.scrollWidth;
  root.dataset.out = wide.slice(0, 5).map(name).join("; ");
  root.dataset.small = small.slice(0, 5).map(name).join("; ");
});</script>"""


def browser() -> str | None:
    """A Chromium on the path, or None."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def screenshot(page: Path, width_px: int, height_px: int, scale: float = 1.0, dark: bool = False) -> Image.Image:
    """The page's top, as a reader of that width sees it."""
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "page.png"
        size = (f"--window-size={width_px},{height_px}", f"--force-device-scale-factor={scale}")
        _run(*size, *((DARK,) if dark else ()), f"--screenshot={picture}", page.absolute().as_uri())
        with Image.open(picture) as shown:
            return shown.convert("RGB")


def measured(page: Path, width_px: int) -> dict[str, str]:
    """How wide the page lies on a screen of that width (`width`), what sticks out of it (`out`), and what is written
    in letters below 11 px (`small`)."""
    with tempfile.TemporaryDirectory() as folder:
        probed = Path(folder) / "page.html"
        probed.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{_PROBE}</body>"), encoding="utf-8")
        dom = _run(f"--window-size={width_px},900", "--dump-dom", probed.as_uri())
    root = re.search(r"<html[^>]*>", dom)
    assert root is not None, "the browser gave no page"
    return dict(re.findall(r'data-(\w+)="([^"]*)"', root[0]))


def small_png(picture: Image.Image) -> bytes:
    """With as many colours as fit into MAX_BYTES."""
    for colours in (256, 128, 64, 32):
        file = io.BytesIO()
        few = picture.quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)  # it keeps rare colours
        few.save(file, "PNG", optimize=True)
        if file.tell() <= MAX_BYTES:
            break
    return file.getvalue()


def _run(*arguments: str) -> str:
    program = browser()
    assert program is not None, f"no browser is installed: one of {', '.join(BROWSERS)} is needed"
    done = subprocess.run([program, *FLAGS, *arguments], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/demo"), help="the demo's folder")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs")
    chosen = parser.parse_args()
    for name in PAGES:
        data = small_png(screenshot(chosen.run / f"{name}.html", WIDTH_PX, HEIGHT_PX, SCALE))
        (chosen.out / f"{name}.png").write_bytes(data)
        print(f"{chosen.out / f'{name}.png'}: {len(data):,} bytes")


if __name__ == "__main__":
    main()
