"""Log in to the cloud's page in a browser that nobody sees: page.py URL SCREENSHOT, the password in PAGE_PASSWORD. Prints what it came to."""

import base64
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

BOUND = 300  # seconds for a page
OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server", "--window-size=1400,900"]
RECEIVED = """return performance.getEntriesByType("resource").map(entry => entry.responseStatus)"""


class Browser:
    """Chromium, by the WebDriver protocol."""

    def __init__(self):
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
        for line in self.driver.stdout:
            if "started successfully on port" in line:
                self.base = f"http://127.0.0.1:{line.rsplit(maxsplit=1)[1].rstrip('.')}/session"
                break
        # The certificate is looked at elsewhere: this browser knows no CA but its own.
        wanted = {"acceptInsecureCerts": True, "timeouts": {"pageLoad": BOUND * 1000, "implicit": 0}, "goog:chromeOptions": {"args": OPTIONS}}
        self.base += "/" + self.call("", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def call(self, path, body=None):
        request = urllib.request.Request(self.base + path, None if body is None else json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=BOUND + 60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{path}: {json.load(error)['value']['message']}") from None

    def open(self, url):
        self.call("/url", {"url": url})

    def run(self, script):
        return self.call("/execute/sync", {"script": script, "args": []})

    def element(self, selector):
        return "/element/" + next(iter(self.call("/element", {"using": "css selector", "value": selector}).values()))

    def write(self, selector, text):
        self.call(self.element(selector) + "/value", {"text": text})

    def wait(self, script):
        """Until a script says so, or the bound is reached: what is there then is told all the same."""
        end = time.monotonic() + BOUND
        while not self.run(script) and time.monotonic() < end:
            time.sleep(0.5)

    def close(self):
        self.call_delete()
        self.driver.terminate()
        self.driver.wait()

    def call_delete(self):
        with urllib.request.urlopen(urllib.request.Request(self.base, method="DELETE"), timeout=60):
            pass


def main(url, screenshot):
    browser = Browser()
    try:
        browser.open(url)
        if browser.run("return !!document.querySelector('#id_domain')"):
            browser.write("#id_domain", "Default")
        browser.write("#id_username", "admin")
        browser.write("#id_password", os.environ["PAGE_PASSWORD"])
        browser.call(browser.element("button[type=submit]") + "/click", {})
        browser.wait("return document.readyState == 'complete' && !!document.querySelector('#sidebar-accordion, .alert-danger, .help-block')")
        seen = {"title": browser.call("/title"), "url": browser.call("/url"), "failed": [status for status in browser.run(RECEIVED) if status >= 400]}
        with open(screenshot, "wb") as stream:
            stream.write(base64.b64decode(browser.call("/screenshot")))
    finally:
        browser.close()
    print(json.dumps(seen))


main(*sys.argv[1:])
