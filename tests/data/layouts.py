"""Small layouts on disk, as people have them: each function writes one and returns the config that reads it."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset

from medmm import registry
from medmm.config.schema import DataConfig

REPORTS = (
    "INDICATION: Cough.\n\nFINDINGS: Small left pleural effusion. The heart is normal.\n\nIMPRESSION: Left effusion.",
    "FINDINGS: The lungs are clear. No pneumothorax.\n\nIMPRESSION: Normal chest.",
    "FINDINGS: Cardiomegaly. Mild edema.\n\nIMPRESSION: Heart failure.",
    "FINDINGS: A 12 mm nodule in the right upper lobe.\n\nIMPRESSION: Nodule, <b>follow-up</b> & comparison advised.",
)
PATIENTS = ("DOE^JANE-001", "DOE^JOHN-002", "ROE^RICHARD-003", "POE^PAULA-004")


def write_png(path: Path, seed: int = 0, size: int = 24) -> Path:
    """Write a grey image whose pixels depend on the seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)
    assert cv2.imwrite(str(path), pixels)
    return path


def write_dicom(path: Path, *, study: str, number: int = 1, patient: str = PATIENTS[0], **elements: object) -> Path:
    """Write a radiograph of 16 x 12 pixels, explicit little endian; ``elements`` by keyword, None leaves one out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = f"{study}.9.{number}"
    meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    standard = {
        "SOPClassUID": meta.MediaStorageSOPClassUID, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.5", "PatientID": patient, "PatientName": patient,
        "Modality": "DX", "ViewPosition": "PA", "PatientSex": "F", "PatientAge": "064Y", "StudyDate": "20200131",
        "AccessionNumber": f"A{study[-1]}", "Manufacturer": "Maker", "ManufacturerModelName": "One",
        "Rows": 16, "Columns": 12, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0,
        "PixelSpacing": [0.5, 0.25],
    }  # fmt: skip
    for name, value in (standard | elements).items():
        if value is not None:
            setattr(dataset, name, value)
    dataset.PixelData = np.random.default_rng(number).integers(0, 4096, (16, 12), dtype=np.uint16).tobytes()
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def write_csv(path: Path, rows: list[dict[str, object]], delimiter: str = ",") -> Path:
    """Write a table; the first row's keys are the columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def openi_xml(uid: str, image_ids: list[str], findings: str | None, impression: str | None) -> bytes:
    """A report as Open-i publishes it."""
    labelled = (("COMPARISON", "None."), ("FINDINGS", findings), ("IMPRESSION", impression))
    if findings is None and impression is None:
        labelled = (("FINDINGS", None), ("IMPRESSION", None))
    parts = "".join(f'<AbstractText Label="{label}">{text or ""}</AbstractText>' for label, text in labelled)
    images = "".join(f'<parentImage id="{one}"><caption>Xray</caption></parentImage>' for one in image_ids)
    return (
        f'<?xml version="1.0" encoding="utf-8"?><eCitation><uId id="{uid}"/><MedlineCitation><Article><Abstract>{parts}'
        f"</Abstract></Article></MedlineCitation><MeSH><major>normal</major></MeSH>{images}</eCitation>"
    ).encode()


def table(root: Path) -> DataConfig:
    """Four patients, five studies, seven rows; one study has two views that do not stand together."""
    rows = [
        {"study": f"s{number}", "patient": PATIENTS[number % 4], "file": f"s{number}_{view}.png", "view": view,
         "report": REPORTS[number % 4], "sex": "female", "age": 64 + number}
        for view in ("PA", "LATERAL") for number in range(5) if view == "PA" or number < 2
    ]  # fmt: skip
    for number, row in enumerate(rows):
        write_png(root / "images" / str(row["file"]), number)
    columns = {"image": "file", "report": "report", "patient": "patient", "study": "study", "view": "view"}
    return DataConfig(
        reader="table", path=write_csv(root / "table.csv", rows), image_root=Path("images"), columns=columns
    )


def dicom(root: Path) -> DataConfig:
    """Four patients, five studies, each in a folder with its report; the first patient has two, a year apart."""
    for number in range(5):
        study, folder = f"1.2.3.{number + 1}", root / f"study{number}"
        write_dicom(
            folder / "image1.dcm", study=study, number=1, patient=PATIENTS[number % 4], StudyDate=f"202{number}0131"
        )
        if number < 2:
            write_dicom(folder / "image2", study=study, number=2, patient=PATIENTS[number % 4], ViewPosition="LL",
                        StudyDate=f"202{number}0131")  # fmt: skip
        (folder / "report.txt").write_text(REPORTS[number % 4])
    return DataConfig(reader="dicom", path=root)


def openi(root: Path) -> DataConfig:
    """Five reports with images in a folder of their own; the second has two."""
    for number in range(1, 6):
        ids = [f"CXR{number}_1_IM-000{number}-{view}001" for view in range(3, 5 if number == 2 else 4)]
        for image_id in ids:
            write_png(root / "png" / f"{image_id}.png", number)
        (root / "xml").mkdir(exist_ok=True)
        (root / "xml" / f"{number}.xml").write_bytes(
            openi_xml(f"CXR{number}", ids, "The lungs are clear.", "Normal chest.")
        )
    return DataConfig(reader="openi", path=root / "xml", image_root=root / "png")


def openi_archive(root: Path) -> DataConfig:
    """The reports of :func:`openi` as one archive, whose images lie beside it."""
    config = openi(root)
    with tarfile.open(root / "reports.tgz", "w:gz") as archive:
        for file in sorted((root / "xml").iterdir()):
            data = file.read_bytes()
            member = tarfile.TarInfo(f"ecgen-radiology/{file.name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return config.model_copy(update={"path": root / "reports.tgz"})


def r2gen(root: Path) -> DataConfig:
    """Five studies in train, val and test, two images each, as in R2Gen's ``iu_xray``."""
    parts: dict[str, list[dict[str, object]]] = {"train": [], "val": [], "test": []}
    for number, split in enumerate(("train", "train", "train", "val", "test")):
        study = f"CXR{number}_IM-000{number}"
        paths = [f"{study}/{view}.png" for view in range(2)]
        for path in paths:
            write_png(root / "images" / path, number)
        parts[split].append({"id": study, "report": REPORTS[number % 4], "image_path": paths})
    (root / "annotation.json").write_text(json.dumps(parts))
    return DataConfig(reader="r2gen", path=root)


def phantom(root: Path) -> DataConfig:
    """Five phantom studies as the stage writes them."""
    from medmm.data.phantom import generate

    generate(root, 5, 0, 64)
    return DataConfig(reader="phantom", path=root)


def written_table(root: Path) -> DataConfig:
    """Five phantom studies as a table of one's own."""
    from medmm.data.phantom.layouts.table import COLUMNS, TABLE

    registry.resolve("layout", "table")(root, 0, range(5), 64)
    return DataConfig(reader="table", path=root / TABLE, columns=dict(COLUMNS))


def written_openi(root: Path) -> DataConfig:
    """Five phantom studies as Open-i publishes them."""
    config = _written("openi", root)
    return config.model_copy(update={"path": root / "ecgen-radiology", "image_root": root / "NLMCXR_png"})


def openi_csv(root: Path) -> DataConfig:
    """Five phantom studies as Open-i's pair of tables."""
    registry.resolve("layout", "openi-csv")(root, 0, range(5), 64)
    return DataConfig(reader="openi", path=root)


def written_r2gen(root: Path) -> DataConfig:
    """Five phantom studies as R2Gen's annotation."""
    return _written("r2gen", root)


def mimic_cxr(root: Path) -> DataConfig:
    """Five phantom studies as MIMIC-CXR, with DICOM images."""
    return _written("mimic-cxr", root)


def mimic_cxr_jpg(root: Path) -> DataConfig:
    """Five phantom studies as MIMIC-CXR-JPG, the reports in the same folders."""
    registry.resolve("layout", "mimic-cxr-jpg")(root, 0, range(5), 64)
    return DataConfig(reader="mimic-cxr", path=root)


def mimic_cxr_bare(root: Path) -> DataConfig:
    """Five phantom studies as MIMIC-CXR without any of its tables."""
    config = mimic_cxr(root)
    for path in root.glob("*.csv.gz"):
        path.unlink()
    return config


def chexpert_plus(root: Path) -> DataConfig:
    """Five phantom studies as CheXpert Plus, in its two parts."""
    return _written("chexpert-plus", root)


def padchest(root: Path) -> DataConfig:
    """Five phantom studies as PadChest."""
    return _written("padchest", root)


def decathlon(root: Path) -> DataConfig:
    """Five phantom studies as a task of the Medical Segmentation Decathlon."""
    return _written("decathlon", root, 32)


def nnunet(root: Path) -> DataConfig:
    """Five phantom studies as nnU-Net's raw data."""
    return _written("nnunet", root, 32)


def vqa_rad(root: Path) -> DataConfig:
    """Five phantom studies as VQA-RAD is published; the last one's questions are its test."""
    return _written("vqa-rad", root)


def _written(reader: str, root: Path, size: int = 64) -> DataConfig:
    """Five phantom studies in the layout of a reader, as :mod:`medmm.data.phantom.layouts` writes it."""
    registry.resolve("layout", reader)(root, 0, range(5), size)
    return DataConfig(reader=reader, path=root)
