# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user of S3 does, by Amazon's own library: s3_client.py CA. Its configuration is in AWS_CONFIG_FILE."""

from __future__ import annotations

import io
import os
import ssl
import sys
import urllib.error
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

BUCKET, NAME = "case-s3", "a folder/an object"
PART = 5 << 20


def refused(call):
    """Whether a call ends with 403."""
    try:
        call()
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    return False


def main():
    s3, data = boto3.client("s3"), os.urandom(3 * PART + 1)
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key=NAME, Body=data, Metadata={"made": "here"})
    there = s3.get_object(Bucket=BUCKET, Key=NAME)
    assert there["Body"].read() == data and there["Metadata"] == {"made": "here"}
    assert s3.get_object(Bucket=BUCKET, Key=NAME, Range="bytes=5-9")["Body"].read() == data[5:10]
    s3.upload_fileobj(io.BytesIO(data), BUCKET, "parts", Config=TransferConfig(multipart_threshold=PART, multipart_chunksize=PART))
    parts = s3.get_object(Bucket=BUCKET, Key="parts")
    assert parts["ETag"].rstrip('"').endswith("-4") and parts["Body"].read() == data
    s3.copy_object(Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": NAME})
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == [NAME, "copy", "parts"]

    trust = ssl.create_default_context(cafile=sys.argv[1])
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": NAME}, ExpiresIn=300)
    with urllib.request.urlopen(url, context=trust) as answer:
        assert answer.read() == data
    try:
        urllib.request.urlopen(url.partition("?")[0], context=trust)
        raise AssertionError("the object is open to everybody")
    except urllib.error.HTTPError as error:
        # without a signature it is no request of S3, and none that Swift knows
        assert error.code in (400, 401, 403), error.code

    wrong = boto3.client("s3", aws_secret_access_key="0" * 32, aws_access_key_id=boto3.session.Session().get_credentials().access_key)
    assert refused(lambda: wrong.list_objects_v2(Bucket=BUCKET)), "a wrong key opens the bucket"
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key} for key in (NAME, "copy", "parts")]})
    s3.delete_bucket(Bucket=BUCKET)


if __name__ == "__main__":
    main()
