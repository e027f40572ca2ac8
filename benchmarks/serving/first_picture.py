"""Measure how soon the page of a running service shows its first pixels, a sample and the wall of samples.

python -m benchmarks.serving.first_picture http://127.0.0.1:8000
"""

from __future__ import annotations

import argparse
import shutil
import statistics

from playwright.sync_api import Browser, sync_playwright

VISITS = 11
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
WATCH = """
window.seen = {};
const places = { "the sample": "#picture img", "the wall": ".tile canvas" };
new MutationObserver(() => {
  for (const [name, selector] of Object.entries(places)) {
    if (document.querySelector(selector)) requestAnimationFrame(() => { seen[name] ??= performance.now(); });
  }
}).observe(document, { childList: true, subtree: true });
"""
TIMES = "({ 'anything': performance.getEntriesByName('first-contentful-paint')[0].startTime, ...seen })"


def main(url: str) -> None:
    """Print medians and ranges in ms over page loads with an empty cache, each with another seed."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        found = [visit(browser, f"{url}/#seed={1000 + i}") for i in range(VISITS)]
        browser.close()
    for name in found[0]:
        times = sorted(each[name] for each in found)
        print(f"{name}: {statistics.median(times):.0f} ms ({times[0]:.0f} to {times[-1]:.0f})")


def visit(browser: Browser, address: str) -> dict[str, float]:
    """Milliseconds from the start of one page load until each thing was shown."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.add_init_script(WATCH)
    page.goto(address)
    for selector in ("#picture img", ".tile canvas >> nth=0"):
        page.locator(selector).wait_for()
    page.locator("[aria-busy=true]").first.wait_for(state="detached")
    page.evaluate("new Promise(requestAnimationFrame)")
    times: dict[str, float] = page.evaluate(TIMES)
    context.close()
    return times


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="first_picture", description=__doc__)
    parser.add_argument("url", help="address of the service, such as http://127.0.0.1:8000")
    main(parser.parse_args().url.rstrip("/"))
