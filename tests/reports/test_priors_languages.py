"""References to earlier studies in Spanish, German, French and Chinese: found, and taken out of whole sentences."""

# ruff: noqa: E501, RUF001  a sentence a line; full-width marks are meant

from __future__ import annotations

import re

import pytest

from medmm.reports.parse import parse_report
from medmm.reports.priors import LANGUAGES, find_prior_references, without_priors
from medmm.reports.target import target_text

# language | what a radiologist wrote | what one image shows of it
TABLE = """
es | Cardiomegalia estable. | Cardiomegalia.
es | Derrame pleural izquierdo estable. | Derrame pleural izquierdo.
es | El derrame pleural izquierdo permanece estable. | El derrame pleural izquierdo está presente.
es | Los nódulos pulmonares se mantienen estables. | Los nódulos pulmonares están presentes.
es | Silueta cardiaca estable. |
es | Sin cambios. |
es | Sin cambios respecto a la radiografía previa. |
es | No se observan cambios significativos respecto al estudio anterior. |
es | Derrame pleural derecho, sin cambios respecto a estudio previo. | Derrame pleural derecho.
es | En comparación con la radiografía previa de 12/03/2021, se observa un infiltrado basal derecho. | Se observa un infiltrado basal derecho.
es | Comparado con el estudio anterior, cardiomegalia moderada. | Cardiomegalia moderada.
es | Persiste el derrame pleural izquierdo. | Derrame pleural izquierdo.
es | Persistencia de la cardiomegalia. | Cardiomegalia.
es | Continúa el infiltrado en lóbulo inferior derecho. | Infiltrado en lóbulo inferior derecho.
es | Nuevo infiltrado en base izquierda. | Infiltrado en base izquierda.
es | No se observan nuevos infiltrados. |
es | Ha aparecido un infiltrado basal derecho. | Se observa un infiltrado basal derecho.
es | El derrame pleural ha aumentado de tamaño. | El derrame pleural está presente.
es | Las opacidades bibasales han disminuido. | Las opacidades bibasales están presentes.
es | El neumotórax ha desaparecido. |
es | Resolución del derrame pleural. |
es | Mejoría del edema pulmonar. | Edema pulmonar.
es | Nuevamente se observa derrame pleural bilateral. | Se observa derrame pleural bilateral.
es | Nódulo pulmonar derecho ya conocido de 8 mm. | Nódulo pulmonar derecho de 8 mm.
es | Sin cambios en el derrame pleural izquierdo. | Derrame pleural izquierdo.
es | Cardiomegalia, similar a estudio previo. | Cardiomegalia.
es | No disponemos de estudios previos para comparar. |
es | Pulmones sin consolidaciones, silueta cardiaca estable. | Pulmones sin consolidaciones.
es | Atelectasia basal izquierda que ha mejorado respecto al control previo. | Atelectasia basal izquierda.
es | Cardiomegalia sin cambios. | Cardiomegalia.
es | Catéter central en situación estable. | Catéter central.
es | Discreto aumento evolutivo del derrame pleural derecho. | Derrame pleural derecho.
es | Los hallazgos descritos persisten. | Los hallazgos descritos están presentes.
es | Infiltrado intersticial bilateral, de nueva aparición. | Infiltrado intersticial bilateral.
es | Radiografía de tórax comparada con la previa del 3 de marzo de 2021: sin cambios. |
es | Se observa derrame pleural, que ha aumentado respecto a la radiografía anterior, y atelectasia basal. | Se observa derrame pleural, atelectasia basal.
es | El nódulo del LSD mide 12 mm, frente a 8 mm en el estudio previo. | El nódulo del LSD mide 12 mm.
es | Senos costofrénicos libres. Hilios sin cambios. Nuevo nódulo de 5 mm en LII. | Senos costofrénicos libres. Nódulo de 5 mm en LII.
de | Unveränderte Kardiomegalie. | Kardiomegalie.
de | Unveränderter kleiner Pleuraerguss links. | Kleiner Pleuraerguss links.
de | Der Pleuraerguss links ist unverändert. | Der Pleuraerguss links ist vorhanden.
de | Die Rundherde sind größenkonstant. | Die Rundherde sind vorhanden.
de | Herzgröße unverändert. |
de | Herz und Mediastinum unverändert. |
de | Im Vergleich zur Voraufnahme vom 12.03.2021 unverändert. |
de | Im Vergleich zur Voraufnahme zeigt sich ein kleiner Pleuraerguss rechts. | Es zeigt sich ein kleiner Pleuraerguss rechts.
de | Pleuraerguss links, im Vergleich zur Voruntersuchung größenprogredient. | Pleuraerguss links.
de | Pleuraerguss rechts, gegenüber der Voraufnahme zunehmend. | Pleuraerguss rechts.
de | Zunehmende Verschattung im linken Unterfeld. | Verschattung im linken Unterfeld.
de | Neue Verschattung rechts basal. | Verschattung rechts basal.
de | Neu aufgetretenes Infiltrat im rechten Unterlappen. | Infiltrat im rechten Unterlappen.
de | Keine neuen Infiltrate. | Keine frischen Infiltrate.
de | Kein neu aufgetretenes Infiltrat. | Kein frisches Infiltrat.
de | Keine wesentliche Befundänderung. |
de | Keine Veränderung gegenüber der Voraufnahme. |
de | Weiterhin Stauungszeichen. | Stauungszeichen.
de | Weiterhin zeigt sich eine Kardiomegalie. | Es zeigt sich eine Kardiomegalie.
de | Der Pneumothorax ist nicht mehr nachweisbar. |
de | Rückläufige Stauung. | Stauung.
de | Zunahme der Stauung. | Stauung.
de | Der Erguss hat zugenommen. | Der Erguss ist vorhanden.
de | Vorbestehende Belüftungsstörung links basal. | Belüftungsstörung links basal.
de | Keine Voraufnahmen zum Vergleich vorhanden. |
de | Lungen frei, Herzgröße konstant. | Lungen frei.
de | Unverändert zeigt sich eine Kardiomegalie. | Es zeigt sich eine Kardiomegalie.
de | Kardiomegalie, im Vergleich zur Voraufnahme vom 3. März 2021 etwas zunehmend, kein Pneumothorax. | Kardiomegalie, kein Pneumothorax.
de | ZVK in unveränderter Lage. | ZVK.
de | Der vorbeschriebene Rundherd im linken Oberlappen misst 8 mm. | Der Rundherd im linken Oberlappen misst 8 mm.
de | Regredienter Pleuraerguss beidseits, jetzt noch gering links. | Pleuraerguss beidseits, gering links.
de | Stationärer Befund im Vergleich zum Vorbild. |
de | Kein Pneumothorax. Stauung gegenüber Voraufnahme rückläufig. Neu Erguss rechts. | Kein Pneumothorax. Stauung. Erguss rechts.
de | Bei bekannter COPD keine neu aufgetretenen Infiltrate. | Bei bekannter COPD keine frischen Infiltrate.
de | Schrittmacher unverändert einliegend. | Schrittmacher einliegend.
de | Größenzunahme des Rundherdes im rechten Oberlappen. |
fr | Cardiomégalie stable. | Cardiomégalie.
fr | Épanchement pleural gauche inchangé. | Épanchement pleural gauche.
fr | L'épanchement pleural gauche est stable. | L'épanchement pleural gauche est visible.
fr | Les nodules pulmonaires sont inchangés. | Les nodules pulmonaires sont visibles.
fr | Silhouette cardiaque stable. |
fr | Sans changement. |
fr | Pas de modification significative par rapport à l'examen précédent. |
fr | Par rapport à l'examen du 12/03/2021, il existe un épanchement pleural droit. | Il existe un épanchement pleural droit.
fr | En comparaison avec le cliché précédent, opacité basale gauche. | Opacité basale gauche.
fr | Épanchement pleural droit, stable par rapport à l'examen antérieur. | Épanchement pleural droit.
fr | Persistance d'un épanchement pleural gauche. | Épanchement pleural gauche.
fr | On note la persistance de la cardiomégalie. | Cardiomégalie.
fr | L'opacité basale droite persiste. | L'opacité basale droite est visible.
fr | Apparition d'une opacité basale droite. | Opacité basale droite.
fr | Nouvelle opacité alvéolaire gauche. | Opacité alvéolaire gauche.
fr | Pas de nouvelle opacité. |
fr | L'épanchement a augmenté. | L'épanchement est visible.
fr | Les opacités ont diminué. | Les opacités sont visibles.
fr | Le pneumothorax a disparu. |
fr | Disparition de l'épanchement. |
fr | Aggravation de l'œdème pulmonaire. | Œdème pulmonaire.
fr | Le pneumothorax n'est plus visible. |
fr | On note à nouveau une cardiomégalie. | On note une cardiomégalie.
fr | Nodule déjà connu du lobe supérieur droit. | Nodule du lobe supérieur droit.
fr | Pas d'examen antérieur disponible pour comparaison. |
fr | Absence de modification de l'épanchement pleural. | Épanchement pleural.
fr | Poumons clairs, silhouette cardiaque inchangée. | Poumons clairs.
fr | La cardiomégalie reste modérée. | La cardiomégalie est modérée.
fr | Stabilité de la cardiomégalie. | Cardiomégalie.
fr | Épanchement pleural droit en régression. | Épanchement pleural droit.
fr | Comparativement à l'examen du 3 mars 2021, majoration de l'épanchement gauche. | Épanchement gauche.
fr | Aspect stable du nodule du lobe supérieur droit, mesurant 8 mm. | Nodule du lobe supérieur droit, mesurant 8 mm.
fr | Cathéter central en place, inchangé. | Cathéter central en place.
fr | Les épanchements pleuraux sont en nette diminution par rapport au cliché précédent. | Les épanchements pleuraux sont visibles.
fr | On ne retrouve plus l'opacité basale droite. |
fr | Opacité alvéolaire basale droite d'apparition récente. | Opacité alvéolaire basale droite.
fr | Pas d'évolution depuis le dernier examen. |
zh | 与前片比较，左侧胸腔积液。 | 左侧胸腔积液。
zh | 与2021年3月12日胸片对比，右肺斑片影较前增多。 | 右肺斑片影。
zh | 左侧胸腔积液较前增多。 | 左侧胸腔积液。
zh | 右下肺斑片影较前片明显吸收。 | 右下肺斑片影。
zh | 心影增大，同前。 | 心影增大。
zh | 心影大小同前。 |
zh | 较前片无明显变化。 |
zh | 右肺结节，大致同前。 | 右肺结节。
zh | 左肺下叶仍见斑片影。 | 左肺下叶见斑片影。
zh | 右肺上叶新发斑片影。 | 右肺上叶斑片影。
zh | 未见新发病灶。 |
zh | 右侧气胸已完全吸收。 |
zh | 左侧胸腔积液较前消失。 |
zh | 双肺纹理增多，与前相仿。 | 双肺纹理增多。
zh | 右侧胸腔积液，较2021-03-12减少。 | 右侧胸腔积液。
zh | 无旧片对比。 |
zh | 建议与前片对照。 |
zh | 双肺纹理增多。心影较前增大。右侧胸腔积液较前减少。 | 双肺纹理增多。右侧胸腔积液。
zh | 两肺感染性病变，较前（2021-03-12）稍吸收。 | 两肺感染性病变。
zh | 对比2021年3月12日片，右侧气胸较前减少，约30%。 | 右侧气胸，约30%。
zh | 右肺中叶结节较前片相仿，大小约8mm。 | 右肺中叶结节，大小约8mm。
zh | PICC管同前。 | PICC管。
zh | 左下肺炎症，较前好转，请结合临床。 | 左下肺炎症，请结合临床。
zh | 复查：右侧少量胸腔积液，与前次比较变化不大。 | 复查：右侧少量胸腔积液。
zh | 原右上肺斑片影已消失，余大致同前。 |
"""
STAY = """
es | Cirugía cardiaca previa.
es | Fracturas costales antiguas.
es | Sin cambios degenerativos significativos.
es | No se observan cambios inflamatorios agudos.
es | Mediastino anterior sin masas.
es | Arcos costales anteriores íntegros.
es | Aumento de la trama broncovascular.
es | Aumento del índice cardiotorácico.
es | Derrame pleural izquierdo de pequeña cuantía.
es | Cambios degenerativos en columna dorsal.
es | Radiografía posteroanterior y lateral de tórax.
es | Pérdida de volumen del lóbulo superior derecho.
de | Zustand nach Sternotomie.
de | Keine degenerativen Veränderungen.
de | Keine entzündlichen Veränderungen.
de | Vermehrte interstitielle Zeichnung.
de | Alte Rippenfrakturen rechts.
de | Herz normal groß, kein Erguss.
de | Der Neurostimulator liegt links.
de | Kein Nachweis eines Pneumothorax.
de | Verlaufskontrolle in 6 Wochen.
de | Bekannter Zustand nach Lobektomie.
fr | Antécédent de chirurgie cardiaque.
fr | Opacité du médiastin antérieur.
fr | Arc antérieur de la deuxième côte.
fr | Le reste du parenchyme est normal.
fr | Au reste, pas d'anomalie.
fr | Pas de modification dégénérative.
fr | Augmentation de la trame interstitielle.
fr | La sonde est à 3 cm par rapport à la carène.
fr | Pas d'épanchement pleural.
fr | Nouveau-né de trois jours.
zh | 双肺纹理增多、增粗。
zh | 心影增大。
zh | 肺气肿，桶状胸。
zh | 骨质未见明显改变。
zh | 既往有结核病史。
zh | 主动脉增宽，右侧肋膈角变钝。
zh | 骨质吸收。
zh | 比例正常。
zh | 前肋骨折。
"""
ROWS = [[part.strip() for part in line.split("|")] for line in TABLE.strip().splitlines()]
STAYING = [[part.strip() for part in line.split("|")] for line in STAY.strip().splitlines()]
LOOSE = re.compile(
    r"\b(?:a|al|con|de|del|en|y|el|la|los|las|un|una|que|es|ha|zu|zur|zum|mit|von|vom|und|der|die|das|ist|hat|sich|à|au|du|des|et|le|les|est|par|d|l)[.,]*$"
    r"|^(?:Y|Al|De|Con|Que|Ha|Und|Zur|Vom|Ist|Hat|Zeigt|Findet|Et|Au|Du|Qui|Est)\b|[,，；]{2}|^[，、的]|[，、的][。.]?$",
)
"""Loose ends, made apart from the rules."""


def test_the_tables_are_large_enough() -> None:
    for code in ("es", "de", "fr", "zh"):
        assert sum(row[0] == code for row in ROWS) >= 25
        assert sum(row[0] == code for row in STAYING) >= 9
    assert len({row[1] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize(("language", "sentence", "expected"), ROWS, ids=[row[1] for row in ROWS])
def test_sentences(language: str, sentence: str, expected: str) -> None:
    assert find_prior_references(sentence, language)
    found = without_priors(sentence, language)
    assert found == expected
    assert not find_prior_references(found, language)
    assert without_priors(found, language) == found
    assert not found or (not LOOSE.search(found) and not found[0].islower() and "  " not in found)


@pytest.mark.parametrize(("language", "sentence"), STAYING, ids=[row[1] for row in STAYING])
@pytest.mark.parametrize("known", [True, False])
def test_history_and_findings_stay(language: str, sentence: str, known: bool) -> None:
    code = language if known else None
    assert find_prior_references(sentence, code) == []
    assert without_priors(sentence, code) == sentence


def test_most_sentences_need_no_language() -> None:
    """A draft says none: what it compares is found all the same, and mostly taken out in the same way."""
    assert all(find_prior_references(sentence) for _, sentence, _ in ROWS)
    same = sum(without_priors(sentence) == expected for _, sentence, expected in ROWS)
    assert same / len(ROWS) >= 0.97


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("Nuevo derrame. Sin cambios respecto al estudio previo.", ["new", "no_change", "comparison"]),
        ("Neue Verschattung, Erguss unverändert gegenüber der Voraufnahme.", ["new", "no_change", "comparison"]),
        ("Nouvelle opacité. Épanchement stable par rapport à l'examen précédent.", ["new", "no_change", "comparison"]),
        ("右肺新发斑片影。与前片比较，左肺病灶好转。", ["new", "comparison", "change"]),
    ],
)
def test_spans_and_kinds(text: str, kinds: list[str]) -> None:
    found = find_prior_references(text)
    assert [one.kind for one in found] == kinds
    assert all(text[one.start : one.end].strip() for one in found)


def test_a_target_is_rewritten_in_the_reports_language() -> None:
    spanish = parse_report(
        "HALLAZGOS: Silueta cardiaca estable. Derrame pleural izquierdo estable.\nIMPRESIÓN: Sin cambios."
    )
    assert spanish.language == "es"
    assert target_text(spanish, without_comparisons=True) == "FINDINGS: Derrame pleural izquierdo."
    chinese = parse_report("检查所见：双肺纹理增多。心影较前增大。右侧胸腔积液较前减少。\n印象：大致同前。")
    assert target_text(chinese, without_comparisons=True) == "FINDINGS: 双肺纹理增多。右侧胸腔积液。"


def test_lists_are_numbered_anew() -> None:
    german = "1. Herzgröße unverändert.\n2. Neue Verschattung rechts basal.\n3. Kein Pneumothorax."
    assert without_priors(german, "de") == "1. Verschattung rechts basal.\n2. Kein Pneumothorax."


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_what_is_no_sentence_is_left_out(language: str) -> None:
    """Whatever is repeated ends, and what compares without ever ending a sentence is left out."""
    for piece in ("respecto a ", "la ", "1 ", "a", "pas de ", "与前片"):
        find_prior_references(piece * 20_000, language)
    word = {"en": "stable ", "es": "estable ", "de": "unverändert ", "fr": "inchangé ", "zh": "同前"}[language]
    assert without_priors(word * 20_000, language) == ""
