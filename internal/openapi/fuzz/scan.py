"""Has the scanner try a running Envoke by its OpenAPI document, and reads its report. It fails
on a finding, and where the scanner has not done its work.

    scan.py <URL> <folder for reports> <most seconds>
"""

import json
import pathlib
import re
import ssl
import subprocess
import sys
import urllib.request

# Answers of Envoke's own are JSON, which no browser shows as a page; what a function
# answers is the function's own.
IRRELEVANT = {"Content Security Policy Configuration", "Clickjacking Protection"}

# Those of the scanner that need nobody but us: ssrf, xxe and log4shell would have our functions
# call a server of the scanner's makers, and ssl needs a program that is not on PyPI.
MODULES = "cookieflags,crlf,csp,exec,file,htaccess,http_headers,permanentxss,redirect,shellshock,sql,upload,xss"

FUNCTION = "nodejs-calculator"
OPERATIONS = ("get", "put", "post", "delete", "patch", "options", "head")

url, folder, seconds = sys.argv[1].rstrip("/"), pathlib.Path(sys.argv[2]), sys.argv[3]


def ask(path, body=None):
    request = urllib.request.Request(url + path, body and json.dumps(body).encode(), {"Language-Title": FUNCTION})
    with urllib.request.urlopen(request, timeout=30, context=ssl._create_unverified_context()) as reply:
        return json.load(reply)


def filled(document, names):
    """The document with paths that lead somewhere, and bodies that the scanner can alter: it
    knows neither parameters of whole paths nor values that are no objects."""
    paths = {}
    document["paths"]["/api/v1/sessions/{request_id}"].pop("delete")  # others need the session
    for path, item in document["paths"].items():
        shared = [p for p in item.get("parameters", []) if p.get("in") != "path"]
        for method in OPERATIONS:
            operation = item.get(method)
            if operation is None:
                continue
            # Of a request with a body it alters the body: a query beside it is more than it can.
            unaltered = ("path", "query") if "requestBody" in operation else ("path",)
            own = [p for p in operation.get("parameters", []) if p.get("in") not in unaltered]
            operation["parameters"] = shared + own
            bodies = operation.get("requestBody", {}).get("content", {})
            if "application/json" in bodies:
                bodies.pop("application/yaml", None)  # the same, in what the scanner cannot write
            for content in bodies.values():
                if not {"properties", "$ref"} & content.get("schema", {}).keys():
                    content["schema"] = {"type": "object", "properties": {"operation": {"type": "string"}, "a": {"type": "string"}}}
        item.pop("parameters", None)
        paths[re.sub(r"{(\w+)}", lambda name: names.get(name[1], "default"), path)] = item
    document["paths"] = paths
    document["servers"] = [{"url": url}]
    return document


def main():
    folder.mkdir(parents=True, exist_ok=True)
    session = ask("/api/v1/initialize", {})["request_id"]
    names = {
        "request_id": session, "id": session, "language_title": FUNCTION, "name": FUNCTION, "version": "1",
        "language": "nodejs", "title": "calculator", "alias": "prod",
    }
    document, report = folder / "openapi.json", folder / "report.json"
    document.write_text(json.dumps(filled(ask("/api/v1/openapi.json"), names)))
    report.unlink(missing_ok=True)
    scan = subprocess.run(
        [
            sys.executable, "-c", "from wapitiCore.main.wapiti import wapiti_asyncio_wrapper; wapiti_asyncio_wrapper()",
            "--url", url + "/", "--swagger", document, "--module", MODULES, "--header", "Language-Title: " + FUNCTION,
            "--flush-session", "--store-session", folder, "--store-config", folder, "--max-scan-time", seconds,
            "--no-bugreport", "--format", "json", "--output", report,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=int(seconds) + 120, check=False,
    )
    (folder / "scan.log").write_text(scan.stdout)
    if scan.returncode or not report.exists():
        sys.exit(scan.stdout + f"the scanner ended with status {scan.returncode}")
    judge(json.loads(report.read_text()), scan.stdout)


def judge(report, log):
    found = 0
    for kind in ("vulnerabilities", "anomalies"):
        for name, cases in report[kind].items():
            for case in cases if name not in IRRELEVANT else ():
                found += 1
                print(f"{name}: {case['method']} {case['path']}: {case['info']}")
    launched = re.findall(r"Launching module (\w+)", log)
    missing = sorted(set(MODULES.split(",")) - set(launched))
    broken = len(re.findall(r"(?m)^Traceback|^\w*Error$", log))
    pages = report["infos"].get("crawled_pages_nbr", 0)
    print(f"{url}: {pages} requests were tried by {len(launched)} modules, {found} findings, the scanner failed {broken} times")
    if missing:
        print("not tried, since the time was over: " + ", ".join(missing))
    sys.exit(found > 0 or broken > 0 or len(missing) > 0 or pages < 20)


main()
