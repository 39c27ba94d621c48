"""Uploads files with tuspy, each until it is done whatever happens to the connection.

python3 tus_py.py URL TOKEN FILE…
Prints one JSON object: files, retries, seconds.
"""

import json
import sys
import time

from requests import RequestException
from tusclient import client
from tusclient.exceptions import TusCommunicationError


def upload(tus: client.TusClient, path: str) -> int:
    """Returns how often it had to begin again."""
    url, retries = None, 0
    while True:
        try:
            # A new uploader each time, as after a restart: it asks where the upload stands.
            uploader = tus.uploader(path, url=url, chunk_size=256 * 1024, metadata={"filename": path.rsplit("/", 1)[-1]})
            if url is None:
                url = uploader.create_url()
                uploader.set_url(url)
            uploader.upload()
            return retries
        except (TusCommunicationError, RequestException, OSError):
            retries += 1
            if retries > 1000:
                raise
            time.sleep(0.01)


def main() -> None:
    endpoint, token, *files = sys.argv[1:]
    tus = client.TusClient(endpoint, headers={"Authorization": f"Bearer {token}"})
    began = time.monotonic()
    retries = sum(upload(tus, path) for path in files)
    print(json.dumps({"files": len(files), "retries": retries, "seconds": time.monotonic() - began}))


main()
