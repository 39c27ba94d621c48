"""Uploads files with tuspy, each until it is done whatever happens to the connection.

python3 tus_py.py URL TOKEN FILE…
Prints one JSON object: files, retries, resumes (from inside the file, at the offset that the server had just told), seconds.
"""

import json
import os
import sys
import time

from requests import RequestException
from tusclient import client
from tusclient.exceptions import TusCommunicationError


def upload(tus: client.TusClient, path: str) -> tuple[int, int]:
    """Returns how often it had to begin again, and how often that was inside the file."""
    url, retries, resumes = None, 0, 0
    while True:
        try:
            # A new uploader each time, as after a restart: it asks where the upload stands.
            uploader = tus.uploader(path, url=url, chunk_size=256 * 1024, metadata={"filename": path.rsplit("/", 1)[-1]})
            if url is None:
                url = uploader.create_url()
                uploader.set_url(url)
            elif 0 < uploader.offset < os.path.getsize(path):
                resumes += 1
            uploader.upload()
            return retries, resumes
        except (TusCommunicationError, RequestException, OSError):
            retries += 1
            if retries > 1000:
                raise
            time.sleep(0.01)


def main() -> None:
    endpoint, token, *files = sys.argv[1:]
    tus = client.TusClient(endpoint, headers={"Authorization": f"Bearer {token}"})
    began = time.monotonic()
    counts = [upload(tus, path) for path in files]
    retries, resumes = (sum(column) for column in zip(*counts))
    print(json.dumps({"files": len(files), "retries": retries, "resumes": resumes, "seconds": time.monotonic() - began}))


main()
