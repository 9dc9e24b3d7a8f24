"""Write every generated page."""

from scripts.doclib.pages import PAGES, ROOT

for name, render in PAGES.items():
    (ROOT / name).write_text(render())
    print(name)
