"""Exact search in faiss over vectors that are quantised to 8 bits, one thread.

python3 faiss_search.py VECTORS PROBES COUNT
Both files hold rows of 256 little-endian floats of length 1. Prints one JSON object: milliseconds of a search in the mean and the
first ten numbers found for each probe, best first.
"""

import json
import sys
import time

import faiss
import numpy

faiss.omp_set_num_threads(1)
vectors = numpy.fromfile(sys.argv[1], dtype="<f4").reshape(-1, 256)
probes = numpy.fromfile(sys.argv[2], dtype="<f4").reshape(-1, 256)
index = faiss.IndexScalarQuantizer(256, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
index.train(vectors[:20000])
index.add(vectors)
rounds = max(1, 2_000_000 // len(vectors))
cpu = time.thread_time()
for _ in range(rounds):
    found = [index.search(probe[None], 10)[1][0] for probe in probes]
spent = (time.thread_time() - cpu) * 1000 / (rounds * len(probes))
print(json.dumps({"cpu_ms": spent, "found": [[int(number) for number in numbers] for numbers in found]}))
