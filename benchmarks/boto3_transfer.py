"""boto3's upload_file and download_file over a folder, as scripts do it; runs in the environment of the other tools.

python boto3_transfer.py up|down ENDPOINT BUCKET PREFIX FOLDER
"""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

FILES_AT_ONCE = 8
CLASSIC = TransferConfig(preferred_transfer_client="classic")  # the other one ignores the endpoint


def main(way: str, endpoint: str, bucket: str, prefix: str, folder: str) -> None:
    s3 = boto3.client("s3", endpoint_url=endpoint, config=Config(s3={"addressing_style": "path"}, max_pool_connections=80))
    if way == "up":
        paths = [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names]
        work: list[tuple[Callable[..., None], tuple[str, str, str]]] = [
            (s3.upload_file, (path, bucket, f"{prefix}/{os.path.relpath(path, folder)}")) for path in paths
        ]
    else:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        targets = {key: os.path.join(folder, os.path.relpath(key, prefix)) for key in keys}
        for target in targets.values():
            os.makedirs(os.path.dirname(target), exist_ok=True)
        work = [(s3.download_file, (bucket, key, target)) for key, target in targets.items()]
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        for done in [pool.submit(call, *arguments, Config=CLASSIC) for call, arguments in work]:
            done.result()


if __name__ == "__main__":
    main(*sys.argv[1:])
