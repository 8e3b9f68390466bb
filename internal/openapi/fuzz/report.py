"""Reads a report of the scanner and fails where it has found a hole."""

import json
import sys

# Answers of Envoke's own are JSON, which no browser shows as a page; what a function
# answers is the function's own.
IRRELEVANT = {"Content Security Policy Configuration", "Clickjacking Protection"}

report = json.load(open(sys.argv[1]))
found = 0
for kind in ("vulnerabilities", "anomalies"):
    for name, cases in report[kind].items():
        for case in cases if name not in IRRELEVANT else ():
            found += 1
            print(f"{name}: {case['method']} {case['path']}: {case['info']}")
print(f"{report['infos'].get('crawled_pages_nbr', '?')} pages, {found} findings")
sys.exit(found > 0)
