#!/usr/bin/env python3
"""Writes src/review/calls.gz: which calls AWS services have, by the service models of botocore.

    python3 -m venv venv && venv/bin/pip install botocore
    venv/bin/python tests/models/make_calls.py > src/review/calls.gz

It is text: the first line names botocore's version. A line that is not indented names the sources that CloudTrail may use for a
service, without `.amazonaws.com`; the lines below it have its calls: a verb, and what follows it in each name.
A source that stands in several blocks has the calls of all of them.
"""

import gzip
import itertools
import re
import sys

import botocore
from botocore.loaders import Loader

SERVICE_MODEL = "service-2"


def sources(service, metadata):
    """Every name that CloudTrail may use: which of them it does use differs from service to service."""
    names = {service, metadata["endpointPrefix"], metadata.get("signingName") or service}
    names |= {part for name in list(names) for part in name.split(".") if len(part) > 1}
    names -= {"api", "data", "runtime", "connect", "models", "metrics"} - {service}
    return tuple(sorted({name.lower() for name in names}))


def services():
    """For each set of sources the names of its calls, in all versions of the models."""
    loader, calls = Loader(), {}
    for service in loader.list_available_services(SERVICE_MODEL):
        for version in loader.list_api_versions(service, SERVICE_MODEL):
            model = loader.load_service_model(service, SERVICE_MODEL, version)
            calls.setdefault(sources(service, model["metadata"]), set()).update(model["operations"])
    return calls


def verb(name):
    """Splits a name behind its first word: `CreateUser` is `Create` and `User`."""
    found = re.match(r"[A-Z]+[a-z0-9]*(?=[A-Z])", name)
    return (found.group(), name[found.end():]) if found else (name, "")


def main():
    lines = [f"botocore {botocore.__version__}"]
    for names, calls in sorted(services().items()):
        lines.append(" ".join(names))
        split = sorted(verb(call) for call in calls)
        for first, group in itertools.groupby(split, key=lambda pair: pair[0]):
            rest = [rest or "." for _, rest in group]
            lines.append(" " + " ".join([first, *rest]))
    text = "".join(line + "\n" for line in lines)
    sys.stdout.buffer.write(gzip.compress(text.encode(), 9, mtime=0))


main()
