"""Says which links of the built site lead nowhere: `dead_links.py target/book`. Links to other sites are not followed."""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What the pages of the reference link to among themselves is the business of those who make them.
REFERENCE = ["rust", "man"]


class Page(HTMLParser):
    """The links of a page, and the places in it that can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if value and name == "id":
                self.places.add(value)
            elif value and name in ("href", "src"):
                self.links.append(value)


def dead_links(site: Path) -> list[str]:
    pages: dict[Path, Page] = {}

    def page(path: Path) -> Page:
        if path not in pages:
            pages[path] = Page(path)
        return pages[path]

    # The page for what is not found has links as from the root of a server.
    sources = [path for path in site.rglob("*.html") if path.relative_to(site).parts[0] not in [*REFERENCE, "404.html"]]
    dead = []
    for source in sources:
        for link in page(source).links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (source.parent / unquote(parts.path)).resolve() if parts.path else source
            target = target / "index.html" if target.is_dir() else target
            place = unquote(parts.fragment)
            if not target.is_file() or (place and target.suffix == ".html" and place not in page(target).places):
                dead.append(f"{source.relative_to(site)}: {link}")
    if not sources:
        dead.append(f"{site}: no pages")
    return dead


if __name__ == "__main__":
    dead = dead_links(Path(sys.argv[1]).resolve())
    print("\n".join(dead), file=sys.stderr)
    sys.exit(1 if dead else 0)
