#!/usr/bin/env python3
"""Writes src/review/calls.gz: which calls AWS services have, and their members, by the service models of botocore.

    python3 -m venv venv && venv/bin/pip install botocore
    venv/bin/python tests/models/make_calls.py > src/review/calls.gz

It is text: the first line names botocore's version. A line that is not indented names the sources that CloudTrail may use
for a service, without `.amazonaws.com`. The lines below it have a call each: its name, the members of its request as
CloudTrail writes them, and behind `>` those of its response, where that is logged.
A source that stands in several blocks has the calls of all of them.
"""

import gzip
import sys

import botocore
from botocore.loaders import Loader

SERVICE_MODEL = "service-2"
# CloudTrail logs no response of what only reads.
READS = ("BatchGet", "Describe", "Get", "Head", "List", "Lookup", "Query", "Scan", "Search")
# Requests are logged by the names of headers and query parameters, or by those of an older interface.
UNLIKE = {"rest-xml"}


def sources(service, metadata):
    """Every name that CloudTrail may use: which of them it does use differs from service to service."""
    names = {service, metadata["endpointPrefix"], metadata.get("signingName") or service}
    names |= {part for name in list(names) for part in name.split(".") if len(part) > 1}
    names -= {"api", "data", "runtime", "connect", "models", "metrics"} - {service}
    return tuple(sorted({name.lower() for name in names}))


def logged(name):
    """A member's name as CloudTrail writes it."""
    return "_return" if name == "return" else name[:1].lower() + name[1:]


def members(model, operation, side):
    """The members on one side of a call. Lists of EC2 are logged by names that no model has."""
    protocol = model["metadata"]["protocol"]
    if side not in operation or protocol in UNLIKE:
        return set()
    shapes = model["shapes"]
    found = set()
    for name, member in shapes[operation[side]["shape"]].get("members", {}).items():
        sent = member.get("locationName", name)
        if protocol != "ec2":
            found |= {logged(name), logged(sent)} if protocol == "rest-json" else {logged(name)}
        elif shapes[member["shape"]]["type"] != "list":
            found.add(logged(sent))
    return found


def services():
    """For each set of sources the calls, with both sides, in all versions of the models."""
    loader, found = Loader(), {}
    for service in loader.list_available_services(SERVICE_MODEL):
        for version in loader.list_api_versions(service, SERVICE_MODEL):
            model = loader.load_service_model(service, SERVICE_MODEL, version)
            calls = found.setdefault(sources(service, model["metadata"]), {})
            for name, operation in model["operations"].items():
                request, response = calls.setdefault(name, (set(), set()))
                request |= members(model, operation, "input")
                if not name.startswith(READS):
                    response |= members(model, operation, "output")
    return found


def main():
    lines = [f"botocore {botocore.__version__}"]
    for names, calls in sorted(services().items()):
        lines.append(" ".join(names))
        for name, (request, response) in sorted(calls.items()):
            words = [name, *sorted(request), *([">", *sorted(response)] if response else [])]
            lines.append(" " + " ".join(words))
    text = "".join(line + "\n" for line in lines)
    sys.stdout.buffer.write(gzip.compress(text.encode(), 9, mtime=0))


main()
