"""Comparisons with earlier studies in German."""

# ruff: noqa: E501  a rule a line

from __future__ import annotations

import re

from medmm.reports.prior_form import PriorRules, Replacement, compiled, names_only

_STUDY = r"(?:\w*(?:aufnahmen?|untersuchung(?:en)?|kontrollen?|röntgenbild(?:er|ern|s)?)|vorbefund(?:e|en|s)?|vorbild(?:er|ern)?|vorstudien?|ct|mrt|röntgen(?:\s+thorax)?)"
_BEFORE = r"(?:vor(?:aufnahmen?|untersuchung(?:en)?|befund(?:e|en|s)?|bild(?:er|ern)?|studien?|ct|kontrollen?))"
_OLD = r"(?:letzte[nrms]?|vorherige[nrms]?|frühere[nrms]?|vorangegangene[nrms]?|ältere[nrms]?|vorliegende[nrms]?|jüngste[nrms]?|externe[nrms]?)"
_MONTH = r"(?:januar|februar|märz|april|mai|juni|juli|august|september|oktober|november|dezember)"
_DATE = rf"(?:\d{{1,2}}\.\s?\d{{1,2}}\.(?:\s?\d{{2,4}})?|\d{{1,2}}\.\s?{_MONTH}(?:\s+\d{{4}})?|{_MONTH}\s+\d{{4}}|\d{{1,2}}/\d{{4}}|\d{{4}}|vortags?|gestern)"
_WHEN = rf"(?:\s+(?:vom|von|aus|am)\s+(?:\w+\s+)?{_DATE})?"
_PRIOR = rf"(?:(?:der|dem|den|die|einer|eine|zur|zum)\s+)?(?:{_OLD}\s+)?(?:{_BEFORE}{_WHEN}|(?<=e[nrms]\s){_STUDY}{_WHEN}|{_STUDY}\s+vom\s+{_DATE}|(?:vom\s+)?{_DATE})"
_THAN = r"(?:im\s+vergleich\s+(?:zu[rm]?|mit)|verglichen\s+(?:mit|zu[rm]?)|gegenüber|in\s+bezug\s+(?:auf|zu[rm]?)|seit)"
_DEGREE = r"(?:(?:weitgehend|weitestgehend|im\s+wesentlichen|nahezu|etwas|leicht|gering|geringgradig|deutlich|diskret|minimal|mäßig|annähernd|insgesamt|teils|partiell|größen|befund|lage)\s*)?"
_SAME = r"(?:unverändert|(?:größen|befund|lage)?konstant|(?:befund|größen|lage)?stabil|gleichbleibend|idem)"
_MOVED = r"(?:zunehmend|abnehmend|zugenommen|abgenommen|(?:größen|befund)?progredient|(?:größen|befund)?regredient|rückläufig|zurückgebildet|gebessert|vergrößert|verkleinert)"
_END = r"(?:e[nrsm]?)?"
_CHANGE = r"(?:(?:befund|größen|lage)?(?:ver)?änderung|befundwandel|befunddynamik|dynamik|größenzunahme|größenänderung)"
_AMOUNT = r"(?:(?:wesentliche|relevante|signifikante|deutliche|sichere|nennenswerte|wesentlicher|relevanter|signifikanter)[nr]?\s+)?"
_BE = r"(?:ist|sind|bleibt|bleiben|zeigt\s+sich|zeigen\s+sich|stellt\s+sich|stellen\s+sich|erscheint|erscheinen|hat|haben|wirkt)"

_REFERENCE = re.compile(
    rf"""(?P<comparison>
      \b(?:im|zum|in)\s+vergleich\b | \bverglichen\b | \b{_BEFORE}\b | \b{_OLD}\s+{_STUDY}\b
    | \b(?:gegenüber|seit)\s+{_PRIOR}(?!\w) | \bvor(?:beschrieben|bestehend|bekannt){_END}\b | \b(?:wie\s+)?zuvor\b | \bvorher\b
    )|(?P<no_change>
      \b(?:{_SAME}){_END}\b | \b(?:keine?|ohne)\s+{_AMOUNT}{_CHANGE}\b | \bpersist(?:ier\w*|enz)\b | \b(?:fort|weiter)bestehend{_END}\b
    | \bweiterhin\b | \bnach\s+wie\s+vor\b | \berneut\b | \bstationäre?[nrs]?\s+befund\w* | \bbefund\w*\s+stationär\b
    )|(?P<new>
      \b(?:neu|neue[nrsm]?)\b | \bneu(?:auftreten|aufgetreten)\w*\b | \bneu\s+aufgetreten{_END}\b | \bauftreten\b
    )|(?P<change>
      \b(?:{_MOVED}){_END}\b | \b(?:größen)?(?:zunahme|abnahme)\b | \b(?:rückbildung|regredienz|progredienz|progress|regress|besserung|verschlechterung)\b | \bnicht\s+mehr\b | \bjetzt\b | \bnur\s+noch\b
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def _there(match: re.Match[str]) -> str:
    """``ist vorhanden`` for ``ist unverändert``, ``sind vorhanden`` for ``haben zugenommen``."""
    verb = match[0].lower().split()[0]
    is_plural = verb in {"sind", "haben"} or verb.endswith("en")
    return "sind vorhanden" if is_plural else "ist vorhanden"


_RULES: tuple[tuple[str, Replacement], ...] = (
    (rf"[,(]?\s*\b{_THAN}\s+{_PRIOR}(?!\w)\)?,?", " "),
    (r"[,(]?\s*\b(?:im|zum)\s+vergleich\b\)?,?", " "),
    (r"[,(]?\s*\b(?:bereits\s+)?vor(?:beschrieben|bekannt)\b\)?", " "),
    (r"\bvor(?:beschriebene|bestehende|bekannte)[nrsm]?\s+(?=\w)", ""),
    (rf"[,(]?\s*\bwie\s+(?:bereits\s+)?(?:zuvor|vorbeschrieben|in\s+{_PRIOR}(?!\w))\)?,?", " "),
    (rf"[,(]?\s*\bohne\s+{_AMOUNT}{_CHANGE}\b\)?", " "),
    (r"[,(]?\s*\bin\s+(?:unveränderter|konstanter|stabiler)\s+(?:lage|position|stellung)\b\)?", " "),
    (
        rf"\b{_BE}\s+(?:\w+\s+){{0,3}}?{_DEGREE}(?:{_SAME}|{_MOVED}|persistierend|persistent)\b(?=\s*(?:$|[,;)]))",
        _there,
    ),
    (
        r"^\s*(?:unverändert|weiterhin|nach\s+wie\s+vor|erneut|neu)\s+(?P<verb>zeigt\s+sich|zeigen\s+sich|findet\s+sich|finden\s+sich|besteht|bestehen)\s+",
        r"Es \g<verb> ",
    ),
    (
        rf"\b{_DEGREE}(?:{_SAME}|{_MOVED}|persistierend|persistent|fortbestehend|weiterbestehend)e[nrsm]?\s*,?\s+(?=\w)",
        "",
    ),
    (r"^\s*(?:weiterhin|unverändert|nach\s+wie\s+vor|erneut)\s+(?=\w)", ""),
    (rf"[,(]?\s*\b{_DEGREE}(?:{_SAME}|{_MOVED}|persistierend|persistent|fortbestehend)\b\)?(?=\s*(?:$|[,;)]))", " "),
    (r"\b(?:weiterhin|nach\s+wie\s+vor|erneut|unverändert)\b\s*", " "),
    (r"^\s*persistenz\s+der\s+(?=\w)", ""),
    (r"\b(?:persistiert|persistieren)(?=\s*$)", _there),
    (r"\b(?:jetzt\s+)?nur\s+noch\b|\bjetzt(?:\s+noch)?\b", " "),
    # neu
    (
        r"\b(?P<no>keine?[nrms]?)\s+neu\s+(?:aufgetretene|abgrenzbare|nachweisbare)(?P<end>[nrsm]?)\b",
        r"\g<no> frische\g<end>",
    ),
    (r"\b(?P<no>keine?[nrms]?)\s+(?P<or>(?:\w+\s+oder\s+)?)neue(?P<end>[nrsm]?)\b", r"\g<no> \g<or>frische\g<end>"),
    (r"\bneu\s+(?:aufgetretene|abgrenzbare|nachweisbare)(?P<end>[nrsm]?)\s+", ""),
    (r"[,(]?\s*\bneu(?:\s+aufgetreten|\s+abgrenzbar|\s+nachweisbar)?\)?(?=\s*(?:$|[,;)]))", " "),
    (r"^\s*(?:neu)?auftreten\s+(?:der|einer)\s+(?=\w)", ""),
    (r"\bneue[nrsm]?\s+(?=\w)", ""),
    (r"^\s*(?:\w+\s+)?(?:größen)?(?:zunahme|abnahme|progredienz|regredienz)\s+der\s+(?=\w)", ""),
    (r"^\s*neu\s+(?=\w)", ""),
    # a verb comes second
    (r"^[\s,;:]*(?P<verb>zeigt\s+sich|zeigen\s+sich|findet\s+sich|finden\s+sich|besteht|bestehen)\s+", r"Es \g<verb> "),
    (r"^[\s,;:]+|[\s,;:]+$", ""),
)

GERMAN = PriorRules(
    reference=_REFERENCE,
    clause_rules=compiled(_RULES),
    gone=re.compile(
        r"\bnicht\s+mehr\b|\b(?:rückbildung|zurückgebildet|entfernt)\w*|\bvollständig\w*\s+(?:regredient|rückläufig)\w*|\bkeine?[nrms]?\s+(?:\w+\s+)?(?:neuauftreten|zunahme)\w*|\bohne\b.*\bneu",
        re.IGNORECASE,
    ),
    unavailable=re.compile(
        r"\b(?:keine?[nrms]?|nicht|ohne|fehlend\w*)\b.*\b(?:verfügbar|vorhanden|vorliegend|vergleich\w*|voraufnahme\w*|voruntersuchung\w*|vor)$|\b(?:keine?|nicht)\b.*\b(?:voraufnahme|voruntersuchung|vorbefund|vergleichsaufnahme)|\b(?:empfehl\w+|empfohlen)\b",
        re.IGNORECASE,
    ),
    broken=(
        re.compile(
            r"\b(?:zu|zur|zum|mit|von|vom|in|im|und|oder|der|die|das|den|dem|des|ein|eine|einer|einem|einen|ist|sind|hat|haben|sich|als|für|bei|an|am|auf|aber|ohne|sehr|leicht|gering|etwas|deutlich|zeigt|zeigen|stellt|keine?)$"
            r"|^(?:und|oder|aber|zu|zur|zum|mit|von|vom|ist|sind|hat|haben|sich|als|zeigt|zeigen|stellt|war|waren|wirkt|erscheint|des|dessen|deren|gegenüber)\b",
            re.IGNORECASE,
        ),
        re.compile(
            r"\b(?:der|die|das|den|dem|des|ein|eine|einer|mit|von|und|zur|zum)\s+(?:ist|sind|hat|haben|und|oder|von|zur|zum)\b|,\s*,|\b(?:ist|sind)\s+(?:ist|sind|und|oder)\b|\b(\w{2,})\s+\1\b",
            re.IGNORECASE,
        ),
    ),
    clause=re.compile(
        r"[,;]\s+(?:und\s+|aber\s+|jedoch\s+)?|\s+(?:aber|jedoch)\s+|\s+und\s+(?=(?:kein|keine|es|der|die|das)\b)",
        re.IGNORECASE,
    ),
    comma=re.compile(r"[,;]\s+"),
    subordinate=re.compile(
        r"(?:wenn|falls|da|dass|weil|während|obwohl|wobei|welche[rsn]?|mehr|weniger|als|wie|sodass)\b", re.IGNORECASE
    ),
    is_said_of_nothing=names_only(
        "herz herzgröße herzsilhouette herzschatten herzkonfiguration herzform mediastinum mediastinal mediastinale mediastinalschatten obere oberes oberen hilus hili hilär lunge lungen"
        " lungenfelder lungenparenchym lungengefäße lungengefäßzeichnung gefäßzeichnung thorax thoraxorgane thorakal thorakales zwerchfell zwerchfelle zwerchfellkuppen pleura pleural"
        " pleurawinkel sinus randwinkel gefäße aorta trachea parenchym knochen knöchern knöcherne skelett weichteile weichteilmantel wirbelsäule größe form lage aspekt bild befund"
        " befunde gesamtbefund untersuchung aufnahme kontrolle voraufnahme übrige übriger übrigen rest darstellung konfiguration stellt zeigt zeigen der die das den dem des ein eine einer"
        " und oder in im mit zu zur zum am an auf ist sind hat haben sich es als bei von vom vorhanden rechts links beidseits bds rechte linke rechter linker beide beider ober unter"
        " kein keine keinen wesentliche wesentlicher sonst ansonsten unverändert auch insgesamt abgrenzbar veränderung befundänderung bekannt bekannte bekannter bekanntes"
    ),
)
