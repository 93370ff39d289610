"""Downloads a source package from PyPI and unpacks it, without building anything: fetch.py NAME==VERSION FOLDER."""

import io
import json
import sys
import tarfile
import urllib.parse
import urllib.request
import zipfile


def main():
    package, folder = sys.argv[1:]
    name, version = package.split("==")
    index = f"https://pypi.org/pypi/{name}/json"
    with urllib.request.urlopen(index) as answer:
        files = json.load(answer)["releases"][version]
    source = next(file for file in files if file["packagetype"] == "sdist")
    with urllib.request.urlopen(urllib.parse.urljoin(index, source["url"])) as answer:
        archive = io.BytesIO(answer.read())
    if source["filename"].endswith(".zip"):
        zipfile.ZipFile(archive).extractall(folder)
    else:
        tarfile.open(fileobj=archive).extractall(folder, filter="data")


if __name__ == "__main__":
    main()
