"""A folder of pairs as `coregister evaluate` takes it, for the scripts that make some."""

import csv

import numpy as np
from plyfile import PlyData, PlyElement


class Pairs:
    """A folder with clouds and a list of pairs."""

    def __init__(self, folder):
        self.folder, self.rows = folder, []
        (folder / "clouds").mkdir(parents=True)

    def add(self, kind, name, source, target, overlap, transform):
        clouds = [f"clouds/{name}_{role}.ply" for role in "st"]
        for path, cloud in zip(clouds, (source, target)):
            vertices = np.zeros(len(cloud), dtype=[(axis, "f4") for axis in "xyz"])
            vertices["x"], vertices["y"], vertices["z"] = cloud.T
            PlyData([PlyElement.describe(vertices, "vertex")]).write(self.folder / path)
        self.rows.append([kind, name, *clouds, overlap, " ".join(map(repr, transform.ravel().tolist()))])

    def finish(self):
        with open(self.folder / "pairs.csv", "w", newline="") as file:
            csv.writer(file).writerows([["set", "name", "src", "tgt", "overlap", "T"], *self.rows])
        print(f"{len(self.rows)} pairs in {self.folder}")
