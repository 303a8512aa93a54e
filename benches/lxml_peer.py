"""libxml2's side of compare_xml: reads paths from standard input up to an empty line, then answers each further line
with the processor time of one round over all documents in nanoseconds: reading each, writing each, doing both to each."""

import sys
import time

from lxml import etree


def main():
    documents = []
    for line in iter(lambda: sys.stdin.readline().rstrip("\n"), ""):
        with open(line, "rb") as file:
            documents.append(file.read())
    now = time.process_time_ns
    print("libxml2 %s through lxml %s" % (".".join(map(str, etree.LIBXML_VERSION)), etree.__version__), flush=True)
    trees = [etree.fromstring(document) for document in documents]
    for _ in sys.stdin:
        start = now()
        for document in documents:
            etree.fromstring(document)
        read = now()
        for tree in trees:
            etree.tostring(tree)
        written = now()
        for document in documents:
            etree.tostring(etree.fromstring(document))
        print(read - start, written - read, now() - written, flush=True)


main()
