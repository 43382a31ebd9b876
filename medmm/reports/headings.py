"""Headings of radiology reports in English, Spanish, German, French and Chinese, as hospitals write and shorten them.

A heading is looked up by :func:`key_of`: case, accents, full stops of abbreviations and white space do not matter.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

ADDENDUM = "addendum"
"""Name of the part behind ``ADDENDUM:``. It is no section: it never replaces a part of the report that it amends."""

_WORDS: dict[str, dict[str, str]] = {
    "en": {
        "indication": "indication, indications, clinical indication, clinical indications, indication for exam, indication"
        " for examination, indication for study, indications for exam, history, clinical history, patient history,"
        " brief history, history of present illness, clinical information, clinical info, clinical data, clinical details,"
        " clinical question, clinical statement, clinical notes, clinical background, relevant history, reason for exam,"
        " reason for examination, reason for study, reason for test, reason for procedure, reason for visit, reason,"
        " reason for this examination, clinical, chief complaint, symptoms, hx, clinical hx, clin hx, ind, indic, rfe",
        "technique": "technique, procedure, exam, examination, exam type, examination type, type of exam, study, study type,"
        " views, protocol, procedure description, exam description, imaging technique, technical factors, tech, proc,"
        " scan technique, method, views obtained, number of views, contrast",
        "comparison": "comparison, comparisons, comparison study, comparison studies, comparison exam, comparison exams,"
        " comparison examination, comparison films, comparison date, compared to, compared with, correlation, prior, priors,"
        " prior studies, prior study, prior exam, prior exams, previous studies, previous exam, comp, compar, cmp",
        "findings": "findings, finding, radiographic findings, imaging findings, chest findings, ct findings, mri findings,"
        " radiological findings, key findings, other findings, report, radiology report, description, observations,"
        " preliminary findings, preliminary report, observation, interpretation, narrative, discussion, body of report, result, results, find, fnd, finds",
        "impression": "impression, impressions, conclusion, conclusions, opinion, summary, diagnosis, assessment,"
        " final impression, overall impression, radiologic impression, radiographic impression, clinical impression,"
        " preliminary impression, chest impression, ct impression, mri impression, chest x-ray impression, ct chest impression,"
        " final diagnosis, radiological diagnosis, bottom line, imp, impr, conc, concl, summary of findings,"
        " impression and recommendation, impression and recommendations",
    },
    "es": {
        "indication": "indicación, indicaciones, indicación clínica, historia clínica, datos clínicos, motivo,"
        " motivo de consulta, motivo de la exploración, motivo del examen, motivo del estudio, información clínica,"
        " antecedentes, juicio clínico, diagnóstico de envío, diagnóstico presuntivo",
        "technique": "técnica, técnica de exploración, técnica de examen, procedimiento, exploración, estudio, protocolo,"
        " exploración realizada, estudio realizado, proyecciones",
        "comparison": "comparación, comparaciones, estudios previos, estudio previo, estudio comparativo, comparativo,"
        " estudios comparativos, comparado con, se compara con",
        "findings": "hallazgos, hallazgo, hallazgos radiológicos, hallazgos de imagen, informe, informe radiológico,"
        " descripción, observaciones, resultado, resultados",
        "impression": "impresión, impresiones, impresión diagnóstica, impresión radiológica, conclusión, conclusiones,"
        " diagnóstico, diagnóstico radiológico, resumen, opinión, idx, conclusión diagnóstica",
    },
    "de": {
        "indication": "indikation, klinische angaben, klinische angabe, klinische fragestellung, fragestellung, anamnese,"
        " klinik, klinische daten, klinische information, klinische informationen, rechtfertigende indikation,"
        " klinik und fragestellung, klinischer hintergrund, zuweisungsgrund, klin. angaben, klin. fragestellung,"
        " vorgeschichte, überweisungsgrund",
        "technique": "technik, untersuchungstechnik, untersuchung, methode, methodik, durchführung, aufnahmetechnik,"
        " untersuchungsart, untersuchungsprotokoll, protokoll",
        "comparison": "vergleich, voraufnahmen, voraufnahme, voruntersuchung, voruntersuchungen, vergleichsaufnahme,"
        " vergleichsaufnahmen, vergleichsuntersuchung, vergleichsuntersuchungen, zum vergleich, vorbefund, vorbefunde,"
        " vergleichsstudien",
        "findings": "befund, befunde, röntgenbefund, bildbefund, befundbericht, befundtext, bericht, beschreibung",
        "impression": "beurteilung, zusammenfassung, zusammenfassende beurteilung, diagnose, schlussfolgerung, fazit,"
        " resümee, gesamtbeurteilung, wertung, bewertung, epikrise, urteil",
    },
    "fr": {
        "indication": "renseignements cliniques, renseignement clinique, contexte clinique, contexte, motif, histoire clinique,"
        " motif de l'examen, information clinique, informations cliniques, données cliniques, antécédents, histoire,"
        " indication clinique, motif de consultation, question posée",
        "technique": "technique d'examen, technique de l'examen, technique d'exploration, examen, examen réalisé, protocole,"
        " procédure, incidences, technique d'acquisition",
        "comparison": "comparaison, comparaisons, examen antérieur, examens antérieurs, examen comparatif, comparatif,"
        " examens de comparaison, comparé à, étude antérieure, études antérieures",
        "findings": "résultats, résultat, constatations, description des lésions, compte rendu, compte-rendu, interprétation,"
        " observations radiologiques, analyse, constats, lecture",
        "impression": "conclusion générale, conclusion diagnostique, impression diagnostique, synthèse, au total, diagnostic,"
        " en conclusion, avis, en résumé",
    },
    "zh": {
        "indication": "临床资料, 临床信息, 临床病史, 病史, 病史摘要, 主诉, 检查目的, 临床诊断, 临床表现, 适应证, 适应症, 申请目的",
        "technique": "检查方法, 检查技术, 扫描方法, 扫描技术, 检查部位, 检查项目, 技术, 成像技术, 检查名称, 方法, 检查方式",
        "comparison": "对比, 比较, 对比检查, 既往检查, 前片对比, 对照, 与前片对比, 既往影像, 旧片",
        "findings": "检查所见, 影像表现, 影像所见, 影像学表现, 影像学所见, 所见, 放射学表现, 影像描述, 描述, 检查结果, x线所见,"
        " ct所见, mr所见, 放射所见, x线表现, ct表现, 报告内容, 诊断描述, 表现",
        "impression": "印象, 诊断意见, 诊断结论, 结论, 诊断, 影像诊断, 影像学诊断, 意见, 诊断印象, 影像学印象, 放射学诊断,"
        " 检查结论, 检查意见, 影像意见, x线诊断, ct诊断, 提示, 报告结论, 总结",
    },
}  # fmt: skip
_ADDENDA = (
    "addendum, addenda, addendum report, report addendum, addendum 1, addendum 2, late addendum, amendment, amended report,"
    " adenda, anexo, nota adicional, nachtrag, ergänzung, zusatz, addenda au compte rendu, complément, 补充报告, 附录, 补充"
)
_CLOSERS = (
    "recommendation, recommendations, notification, notifications, communication, critical results, signed, signed by,"
    " electronically signed, electronically signed by, dictated by, dictated, transcribed by, transcribed, interpreted by,"
    " reported by, read by, verified by, approved by, finalized by, radiologist, attending, attending radiologist, resident,"
    " physician, referring physician, ordering physician, ordering provider, date, date of exam, date of service, exam date,"
    " study date, time, name, patient, patient name, patient id, mrn, dob, date of birth, accession, accession number,"
    " accession no, signature, electronic signature, end of report, end of impression,"
    " end of findings, end of addendum, end of dictation, original report, attestation, attending attestation,"
    " teaching physician attestation, disclaimer, cc, department, location, icd, icd codes, cpt, cpt codes, billing, status,"
    " recomendación, recomendaciones, firmado, firmado por, fecha, paciente, nombre, médico, médico radiólogo, radiólogo,"
    " empfehlung, empfehlungen, procedere, patientin, datum, unterschrift, gezeichnet, arzt, freundliche grüsse,"
    " mit freundlichen grüßen, mit freundlichen kollegialen grüßen,"
    " recommandation, recommandations, signé, signé par, date de l'examen, médecin, nom, radiologue, conduite à tenir,"
    " 建议, 报告医师, 审核医师, 报告医生, 审核医生, 医师, 医生签名, 报告日期, 检查日期, 日期, 姓名, 性别, 年龄, 备注, 诊断医师, 检查号,"
    " 影像号, 住院号, 门诊号, 科室, 报告时间, 审核时间"
)
_BARE = (
    "indication, clinical indication, history, clinical history, technique, procedure, examination, exam, comparison,"
    " findings, impression, conclusion, opinion, reason for exam, reason for examination, reason for study, recommendation,"
    " recommendations, addendum, findings and impression, clinical information,"
    " indicación, técnica, comparación, hallazgos, impresión, impresión diagnóstica, conclusión, datos clínicos,"
    " befund, beurteilung, klinische angaben, fragestellung, technik, vergleich,"
    " résultats, renseignements cliniques, comparaison"
)
_SUBHEADINGS = (
    "lungs, lung, heart, pleura, mediastinum, bones, airways, heart and mediastinum, cardiomediastinal silhouette, osseous"
    " structures, lungs and pleura, lungs and airways, lungs/pleura, bones and soft tissues, soft tissues, cardiac silhouette,"
    " cardiac, hila, support devices, lines and tubes, tubes and lines, lines/tubes, pleural spaces, upper abdomen, diaphragm,"
    " the heart, the lungs, the mediastinum, the bones, skeleton, heart/mediastinum, lung parenchyma, musculoskeletal,"
    " pulmones, corazón, mediastino, huesos, pulmón, herz, lunge, lungen, pleuren, knochen, poumons, coeur, médiastin, plèvre"
)
AMBIGUOUS = frozenset(("technique", "indication", "indications", "conclusion", "conclusions", "impression", "impressions",
                       "observations", "observation", "description", "protocol", "contrast", "impresion"))  # fmt: skip
"""Headings that English shares with French, or is misspelt to: they tell no language."""

_FOLDED = str.maketrans({"’": "'", "‘": "'", "ß": "ss"})
JOIN = re.compile(r"\s*(?:/|&|,|\+|\b(?:and|y|und|et)\b|和|及|与)\s*", re.IGNORECASE)
"""What stands between two headings that share a part: ``FINDINGS AND IMPRESSION``."""


@lru_cache(maxsize=16384)
def key_of(name: str) -> str:
    """Reduce a heading to what it is looked up by: ``Klin.  Angaben`` is ``klin angaben``."""
    text = " ".join(name.translate(_FOLDED).replace(".", " ").split()).lower()
    if text.isascii():
        return text
    return "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))


def _keys(words: str) -> tuple[str, ...]:
    return tuple(key_of(word) for word in words.split(","))


_CLOSED = dict.fromkeys(_keys(_CLOSERS))
SECTION_OF: dict[str, str | None] = {
    **{name: section for table in _WORDS.values() for section, words in table.items() for name in _keys(words)},
    **dict.fromkeys(_keys(_ADDENDA), ADDENDUM),
    **_CLOSED,
}
"""Key of a heading to its section, to ``addendum``, or to None where it ends a section and opens none."""
LANGUAGE_OF: dict[str, str] = {
    name: language for language, table in reversed(_WORDS.items()) for words in table.values() for name in _keys(words)
}
"""Key of a section's heading to its language; English where English has it too."""
BARE = frozenset(_keys(_BARE))
"""Headings that need no colon when written in capitals; a longer list would take words out of sentences."""
SUBHEADINGS = frozenset(_keys(_SUBHEADINGS))
"""Anatomical subheadings: they stand within the findings and end nothing."""
LONGEST = max(len(name) for name in SECTION_OF)
CHINESE = tuple(sorted((name for name in SECTION_OF if not name.isascii() and name[-1] >= "一"), key=len, reverse=True))
"""Chinese headings, the longest first: no space parts them from what stands before."""


@lru_cache(maxsize=16384)
def sections_named(name: str) -> tuple[str, ...] | None:
    """Sections that a heading opens: empty for one that only ends what stands before, None where it is no heading.

    ``FINDINGS AND IMPRESSION`` opens both; any other pair (``HISTORY/INDICATION``) opens the first.
    """
    key = key_of(name)
    if key in SECTION_OF:
        section = SECTION_OF[key]
        return (section,) if section else ()
    parts = [part for part in JOIN.split(key) if part]
    if len(parts) < 2 or not all(part in SECTION_OF for part in parts):  # noqa: PLR2004
        return None
    names = [found for found in (SECTION_OF[part] for part in parts) if found]
    read = [one for one in names if one in {"findings", "impression"}]
    return tuple(dict.fromkeys(read)) if read else tuple(names[:1])


def key_parts(name: str) -> list[str]:
    """Keys of the headings that a merged heading is made of."""
    key = key_of(name)
    return [key] if key in SECTION_OF else [part for part in JOIN.split(key) if part]
