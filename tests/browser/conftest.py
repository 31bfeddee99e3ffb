"""What tests in a browser share: the browser, and a page in it."""

import pytest
from playwright.sync_api import expect, sync_playwright

from tools.browser import ALL, CHROMIUM, PATIENCE, QUIET


def pytest_collection_modifyitems(items):
    if not CHROMIUM.exists() and not ALL:
        for item in items:
            if "browser" in item.fspath.dirname:
                item.add_marker(pytest.mark.skip(reason=f"no browser at {CHROMIUM}"))


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page, and in `page.errors` what its console complained of."""
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page.errors = []
    page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    page.close()
