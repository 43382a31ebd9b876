"""What identifiers look like in reports. The order decides: what an earlier rule has taken, a later one leaves."""

# ruff: noqa: E501  a rule a line

from __future__ import annotations

import re
from datetime import date
from typing import NamedTuple


class Rule(NamedTuple):
    """One look of an identifier: the group ``x`` of the pattern is replaced.

    Attributes:
        kind: Kind of the identifier.
        pattern: Its look.
        hint: The pattern is tried only where one of these stands in the text.
    """

    kind: str
    pattern: re.Pattern[str]
    hint: tuple[str, ...] = ()


_MONTH = r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_YEAR = r"(?:19|20)\d\d"
_CLOCK = r"(?:[ T,]+(?:at\s+)?\d{1,2}:\d\d(?::\d\d)?(?:\s*[aApP]\.?[mM]\b\.?)?)"
_W = r"[A-ZÀ-ÖØ-Þ][\w'’-]*"
_CAP = r"[A-ZÀ-ÖØ-Þ](?:['’][A-ZÀ-ÖØ-Þ])?[a-zß-öø-ÿ]+(?:[-'’]?[A-ZÀ-ÖØ-Þ](?:['’][A-ZÀ-ÖØ-Þ])?[a-zß-öø-ÿ]+)*"
_UP = r"[A-ZÀ-ÖØ-Þ][A-ZÀ-ÖØ-Þ'’-]+"
ONE = rf"(?:{_CAP}|{_UP})"
"""A capitalised word, or one in capitals."""
_PARTICLE = r"(?:(?:van|von|de|der|den|la|le|del|di|da|dos|bin|al|el|ter|St\.?|Mc|O')[ -])"
_NAME = rf"(?:(?:{ONE}|[A-Z]\.?)[ ]+){{0,3}}{_PARTICLE}{{0,2}}{ONE}(?:[ ](?:Jr|Sr|II|III|IV)\b\.?)?"
_LAST_FIRST = rf"{_PARTICLE}{{0,2}}{ONE},[ ]*{ONE}(?:[ ]+(?:{ONE}|[A-Z]\b\.?))?"
_CREDENTIAL = (
    r"(?:M\.?D\.?|D\.?O\.?|Ph\.?D\.?|R\.?N\.?|N\.?P\.?|P\.?A\.?-?C|R\.?T\.?|MBBS|FRCR|FACR|DABR|ARNP|APRN|CRNP|MBChB)"
)
_SIGNED = (
    r"(?:dictated|transcribed|interpreted|read|reviewed|signed|electronically[ ]signed|verified|approved|finalized|finalised|reported|performed"
    r"|ordered|requested|authenticated|e-signed|attested|authored|prepared|referred|examined)(?:[ ]and[ ]\w+)?[ ]*(?:by[ ]*:?|:)"
)
_ROLE = (
    r"(?:radiologist|attending(?:[ ](?:radiologist|physician))?|resident|fellow|technologist|referring(?:[ ](?:physician|provider|doctor|md))?"
    r"|ordering(?:[ ](?:physician|provider|doctor|md))?|physician|provider|patient(?:'s)?(?:[ ]name)?|pt(?:[ ]name)?|name|surgeon|consultant|requesting[ ]physician"
    r"|primary[ ]care[ ]physician|pcp|nurse|dictator|transcriptionist|signature|author|mother|father|wife|husband|spouse|next[ ]of[ ]kin|guardian)"
)
_TOLD = r"(?:discussed[ ]with|notified|communicated[ ](?:to|with)|conveyed[ ]to|reported[ ]to|paged|informed|called[ ]to|relayed[ ]to|spoke(?:n)?[ ](?:with|to)|cc:)"
_ID_LABEL = (
    r"(?:mrn|m\.r\.n\.|medical[ ]record(?:[ ](?:number|no\.?|#))?|mr[ ]?#|patient[ ]id|pt[ ]id|pat[ ]?id|pid|accession(?:[ ](?:number|no\.?|num|#))?|acc(?:ess)?(?:[ ]?(?:#|no\.?|number))"
    r"|order[ ](?:number|no\.?|#|id)|exam[ ](?:number|no\.?|#|id)|visit[ ](?:number|no\.?|#|id)|encounter(?:[ ](?:number|no\.?|#|id))?|account(?:[ ](?:number|no\.?|#))|acct(?:[ ]?(?:number|no\.?|#))?"
    r"|ssn|social[ ]security(?:[ ](?:number|no\.?|#))?|case[ ](?:number|no\.?|#)|study[ ](?:id|number|no\.?)|insurance[ ](?:id|number|no\.?)|policy[ ](?:number|no\.?|#)|member[ ]id|record[ ](?:number|no\.?|#)|fin|csn"
    r"|license[ ](?:number|no\.?|#)|npi|serial[ ](?:number|no\.?|#)|nhs[ ](?:number|no\.?)|hospital[ ](?:number|no\.?)|chart[ ](?:number|no\.?|#)|job[ ]?(?:id|#|number)|document[ ]?(?:id|#|number)|chi[ ]number)"
)
_PHONE = (
    r"(?:(?:\+\d{1,3}[ .-]?)?(?:\(\d{3}\)[ ]?|\d{3}[ .-])\d{3}[ .-]\d{4}(?:[ ]*(?:x|ext\.?|extension)[ ]*\d{1,6})?)"
)
_STREET = r"(?:Street|St\.?|Avenue|Ave\.?|Road|Rd\.?|Boulevard|Blvd\.?|Lane|Ln\.?|Drive|Dr\.?|Court|Ct\.?|Way|Place|Pl\.?|Parkway|Pkwy\.?|Highway|Hwy\.?|Circle|Terrace|Square|Trail)"
_STATE = r"(?:A[LKZR]|C[AOT]|D[CE]|FL|GA|HI|I[DLNA]|K[SY]|LA|M[EDAINSOT]|N[EVHJMYCD]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[TA]|W[AVIY])"
_HOSPITAL = r"(?:Hospital|Medical[ ]Cent(?:er|re)|Clinic|Health[ ]?(?:[Cc]are)?(?:[ ](?:System|Center|Centre|Partners))?|Infirmary|Imaging(?:[ ](?:Center|Centre|Associates))|Radiology[ ](?:Associates|Group|Partners|Consultants)|Cancer[ ]Center|University[ ]Hospital|Nursing[ ]Home|Hospice|Rehabilitation[ ]Center)"
_NOT_PART = r"(?<![\w.,/-])"


def _rule(kind: str, pattern: str, hint: tuple[str, ...] = (), flags: int = 0) -> Rule:
    return Rule(kind, re.compile(pattern, flags), hint)


_I = re.IGNORECASE
_LABELLED_NAME = rf"(?P<x>{_LAST_FIRST}|{_NAME})(?:,?[ ]*{_CREDENTIAL}\b)?"
FORMS: tuple[Rule, ...] = (
    _rule("EMAIL", r"(?P<x>(?<![\w.+%-])[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,6})", ("@",)),
    _rule("URL", r"(?P<x>\b(?:https?|ftp)://[^\s<>\"']+|\bwww\.[^\s<>\"']+[^\s<>\"'.,;)])", ("://", "www.")),
    _rule("NAME", rf"(?P<x>\b{_UP}\^{_UP}(?:\^[A-Z.]*){{0,3}}|\b{_CAP}\^{_CAP}(?:\^[A-Za-z.]*){{0,3}})", ("^",)),
)
"""Rules of no language."""
RULES: tuple[Rule, ...] = (
    _rule(
        "ADDRESS",
        rf"(?P<x>\bP\.?[ ]?O\.?[ ]Box[ ]\d+(?:,[ ]*{_CAP}(?:[ ]{_CAP})*,?[ ]+{_STATE}(?:[ ]+\d{{5}}(?:-\d{{4}})?)?)?)",
    ),
    _rule(
        "ADDRESS",
        rf"(?P<x>\b\d{{1,5}}[A-Z]?[ ](?:(?:N|S|E|W|NE|NW|SE|SW|North|South|East|West)\.?[ ])?(?:{_CAP}|\d+(?:st|nd|rd|th))(?:[ ]{_CAP}){{0,2}}[ ]{_STREET}(?![\w])"
        rf"(?:,?[ ](?:Apt|Suite|Ste|Unit|Floor|\#)\.?[ ]?\w+)?(?:,?[ ]+{_CAP}(?:[ ]{_CAP}){{0,2}},?[ ]+{_STATE}\b)?(?:,?[ ]+\d{{5}}(?:-\d{{4}})?\b)?)",
    ),
    _rule("ADDRESS", rf"(?P<x>\b{_CAP}(?:[ ]{_CAP}){{0,2}},[ ]*{_STATE}[ ]+\d{{5}}(?:-\d{{4}})?\b)"),
    _rule("DATE", rf"{_NOT_PART}(?P<x>{_YEAR}[-/.](?:0?[1-9]|1[0-2])[-/.]{_DAY}{_CLOCK}?)(?![\w/-])(?:Z\b)?"),
    _rule("DATE", rf"{_NOT_PART}(?P<x>(?:{_DAY}|1[0-2])[/](?:{_DAY}|1[0-2])[/](?:{_YEAR}|\d\d){_CLOCK}?)(?![\w/])"),
    _rule("DATE", rf"{_NOT_PART}(?P<x>{_DAY}[-.]{_DAY}[-.]{_YEAR}{_CLOCK}?)(?![\w-])"),
    _rule("DATE", rf"{_NOT_PART}(?P<x>(?:0[1-9]|1[0-2])[-.](?:0[1-9]|[12]\d|3[01])[-.]\d\d)(?![\w.-]|[ ]*(?:mm|cm))"),
    _rule(
        "DATE",
        rf"\b(?P<x>(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day,?[ ]+)?{_MONTH}\.?[ ]+{_DAY}(?:st|nd|rd|th)?(?:,?[ ]+{_YEAR})?{_CLOCK}?)(?![\w/])(?![ ]*(?:mm|cm)\b)",
        flags=_I,
    ),
    _rule(
        "DATE",
        rf"{_NOT_PART}(?P<x>{_DAY}(?:st|nd|rd|th)?[ -](?:of[ ])?{_MONTH}\.?,?(?:[ -]{_YEAR}|-\d\d)?{_CLOCK}?)(?!\w)",
        flags=_I,
    ),
    _rule("DATE", rf"\b(?P<x>{_MONTH}\.?,?[ ](?:of[ ])?{_YEAR})\b", flags=_I),
    _rule(
        "DATE",
        rf"\b(?:on|dated?|from|since|of|comparison:?|dob:?|born:?|study)[ ]+(?P<x>(?:0?[1-9]|1[0-2])/{_DAY}|(?:0[1-9]|1[0-2])[-/]{_YEAR}|{_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))(?![\w/])",
        flags=_I,
    ),
    _rule(
        "DATE",
        rf"(?:\bdate\b|\bdob\b|\bd\.o\.b\.|\bborn\b)[^\n\w]{{0,4}}(?P<x>{_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:\d{{4,6}})?)\b",
        flags=_I,
    ),
    _rule(
        "DATE",
        rf"\b(?:in|since|from|dated|of|back[ ]to|year|circa)[ ]+(?P<x>{_YEAR})\b(?![ ]*(?:mm|cm|ml|cc|hours|hrs|HU))",
        flags=_I,
    ),
    _rule("ID", rf"\b{_ID_LABEL}[ ]*(?:is|of)?[ ]*[:#=]{{0,2}}[ ]*(?P<x>(?=[\w-]*\d)[A-Z0-9][\w-]{{2,24}})", flags=_I),
    _rule("ID", r"(?<![\w-])(?P<x>\d{3}-\d{2}-\d{4})(?![\w-])"),
    _rule(
        "DATE",
        rf"\b(?P<x>(?:mon|tues|wednes|thurs|fri|satur|sun)day,?[ ]+(?:0?[1-9]|1[0-2])/{_DAY})(?![\w/])",
        flags=_I,
    ),
    _rule("NAME", rf"(?P<x>\b{_UP},{_UP})(?=[ ]+(?:\d{{5,}}|\[ID))"),
    _rule(
        "NAME", r"\b(?:dr|doctor)\b\.?[ ](?P<x>(?!xxxx\b|and\b|the\b|on\b|at\b|in\b|was\b|of\b)[a-z][a-z'’-]{2,24})\b"
    ),
    _rule("NAME", r"(?P<x>\b[a-z][a-z'’-]{1,24}[ ][a-z][a-z'’-]{1,24}),[ ](?:md\b|m\.d\.)", (", md", ", m.d.")),
    _rule("PHONE", rf"(?<![\w.-])(?P<x>{_PHONE})(?![\w-])"),
    _rule(
        "PHONE",
        r"\b(?:phone|telephone|tel|fax|pager|beeper|cell|mobile|callback(?:[ ]number)?|ext(?:ension)?|voicemail|call)\b\.?(?:[ ](?:number|no\.?|\#))?(?:[ ](?:at|is))?[ ]*[:#]?[ ]*(?P<x>\+?\(?\d[\d ().-]{2,17}\d)(?![\w])",
        flags=_I,
    ),
    _rule("PHONE", r"(?<![\w.-])(?P<x>\+\d{1,3}[ .-]?\(?\d{1,4}\)?(?:[ .-]?\d{2,4}){2,4})(?!\w)", ("+",)),
    _rule("ID", r"(?<![\w.-])(?P<x>(?:[A-Z]{1,4}-?\d{6,12}|\d{8,14}))(?![\w.%-]|[ ]?(?:mm|cm))"),
    _rule(
        "AGE",
        r"\b(?P<x>(?:9\d|1[0-2]\d))(?=[ -]?(?:years?|yrs?)[ -]?(?:old)?\b|[ -]?(?:y\.?/?o\.?\b|yo[mf]?\b)|[ ]?[MF]\b(?![.:]))",
        flags=_I,
    ),
    _rule("AGE", r"\baged?[ ]*:?[ ]*(?P<x>9\d|1[0-2]\d)\b", flags=_I),
    _rule(
        "NAME",
        rf"\b(?:(?i:drs?|doctors?|mr|mrs|ms|miss|prof(?:essor)?|nurse|sister|rev)\b\.?[ ]+|(?:Dr|Mr|Mrs|Ms)\.)(?P<x>{_NAME}(?:[ ]and[ ]{_NAME})?)(?:,?[ ]*{_CREDENTIAL}\b)?",
    ),
    _rule(
        "NAME",
        rf"(?<![\w^])(?P<x>{_LAST_FIRST}|(?:{ONE}[ ]+)(?:(?:{ONE}|[A-Z]\.?)[ ]+){{0,2}}{_PARTICLE}?{ONE}),?[ ]+{_CREDENTIAL}(?![\w])",
    ),
    _rule("NAME", rf"(?i:{_SIGNED})[ \t]*(?:(?i:dr)\b\.?[ ]+)?{_LABELLED_NAME}"),
    _rule(
        "NAME",
        rf"(?im:(?:^|(?<=[.;,]))[ \t]*(?:the[ ]+)?\b{_ROLE})[ ]*:[ \t]*(?:(?i:dr|mr|mrs|ms)\b\.?[ ]+)?{_LABELLED_NAME}",
        (":",),
    ),
    _rule("NAME", rf"(?i:\b{_TOLD})[ ]+(?:(?i:the[ ]+)?(?i:{_ROLE}),?[ ]+)?(?:(?i:dr)\b\.?[ ]+)?(?P<x>{_NAME})"),
    _rule(
        "NAME",
        rf"(?i:\b(?:patient|pt|named|name[ ]is|mother|father|wife|husband|nurse|radiologist|resident|physician|technologist|surgeon))[ ]+(?P<x>{_CAP}[ ](?:[A-Z]\.?[ ])?{_CAP})(?![\w])",
    ),
    _rule("NAME", rf"(?m:^[ \t]*/?s/[ ]*)(?P<x>{_NAME})", ("s/",)),
    _rule(
        "HOSPITAL",
        rf"(?P<x>\b(?:St\.?[ ]|Saint[ ]|Mount[ ]|Mt\.?[ ])?(?:(?!The\b|At\b|In\b|From\b|To\b){ONE}(?:'s|’s)?[ ])(?:(?:{ONE}(?:'s|’s)?|of|and|the|&)[ ]){{0,4}}{_HOSPITAL})\b",
        ("Hospital", "Medical", "Clinic", "Health", "Infirmary", "Imaging", "Radiology", "Center", "Hospice", "Home"),
    ),
    _rule("HOSPITAL", rf"(?P<x>\bUniversity[ ]of[ ]{_CAP}(?:[ ]{_CAP}){{0,2}})", ("University",)),
)
"""Rules of English, and of what looks the same everywhere."""

_NO_NAMES = frozenset(
    "kerley swan ganz hodgkin hodgkin's hodgkins schmorl schmorl's baker baker's colles bochdalek morgagni ghon pancoast hampton"
    " fleischner westermark hill sachs bankart crohn crohn's paget paget's ewing ewing's hounsfield cobb kaposi kaposi's wegener's wegener"
    " langerhans marfan marfan's down down's turner gilbert sjogren sjogren's cushing addison parkinson parkinson's alzheimer's port hickman"
    " groshong quinton dobhoff dobbhoff foley blakemore greenfield harrington luque nuss eloesser fontan blalock taussig glenn rastelli mitral"
    " valsalva trendelenburg lordotic boerhaave macleod kartagener luftsichel bird's meckel's the this there no none impression findings"
    " comparison indication technique history chest heart lungs lung left right normal xxxx pa ap lateral view views clinical exam report"
    " study of and or in with at by on for to from is was were are patient emergency room department icu er floor team service office staff"
    " nurse physician radiologist resident unknown yes not available pending report"
    " varón varon mujer hombre niño niña paciente hallazgos impresión conclusión radiografía tórax estudio informe técnica indicación urgencias servicio derecho"
    " izquierdo sin no se el la en con desconocido mann frau männlich weiblich patient patientin befund beurteilung röntgen thorax aufnahme untersuchung klinik"
    " fragestellung kein keine herz lunge lungen rechts links unbekannt homme femme garçon fille patiente résultat résultats conclusion indication radiographie"
    " examen absence pas sans le les une un inconnu service urgences coeur cœur poumons hodgkin homans".split()
)
_TITLE_WORDS = frozenset(
    "dr dra dres drs prof sr sra srta don doña herr herrn frau doktor docteur docteure pr m mme mlle med".split()
)
_TITLES = re.compile(rf"^(?:drs?|mr|mrs|ms|prof)\.?\s+|,?\s*\b{_CREDENTIAL}$", re.IGNORECASE)
_MONTHS = {
    prefix: number
    for number, prefixes in enumerate(
        ("jan ene jän", "feb fév fev", "mar mär", "apr abr avr", "may mai", "jun juin", "jul juil", "aug ago aoû aou", "sep set",
         "oct okt", "nov", "dec dic dez déc"), 1
    )
    for prefix in prefixes.split()
}  # fmt: skip
"""First letters of months in English, Spanish, German and French."""


def is_no_name(words: str) -> bool:
    """Whether words in the place of a name are an eponym, a heading, a title alone or any other word of radiology."""
    parts = [part for part in re.split(r"[\s,^.]+", words.lower()) if part]
    return not parts or set(parts) <= _TITLE_WORDS or parts[0] in _NO_NAMES or parts[-1] in _NO_NAMES


def without_tail(words: str) -> str:
    """A name without words behind it that start the next sentence: ``Smith, John No`` is ``Smith, John``."""
    while " " in words and words.rsplit(" ", 1)[1].lower() in _NO_NAMES:
        words = words.rsplit(" ", 1)[0].rstrip(" ,")
    return words


def name_key(words: str) -> str:
    """The surname: the part before a comma or caret, else the word in capitals among others, else the last word."""
    words = _TITLES.sub("", words.strip())
    first = re.split(r"[,^]", words)[0].strip()
    parts = [
        part for part in re.split(r"\s+", first) if part.rstrip(".").lower() not in {"jr", "sr", "ii", "iii", "iv"}
    ]
    capitals = [part for part in parts if len(part) > 2 and part.isupper()]  # noqa: PLR2004
    if 0 < len(capitals) < len(parts) and not any("." in part for part in parts):
        parts = capitals
    return parts[-1].strip(".'’").lower() if parts else ""


def day_of(words: str, day_first: bool = False) -> date | None:
    """The day that a date names; None where day, month or year is missing.

    Args:
        words: The date.
        day_first: Which is tried first of ``12/03`` and ``12.03``: month first, as in America, or the day.
    """
    text = words.lower()
    numbers = [int(number) for number in re.findall(r"\d+", re.split("[:：时]", text)[0])]
    if re.fullmatch(r"\d{8}(?:\d{4,6})?", text.strip()):
        numbers = [int(text[:4]), int(text[4:6]), int(text[6:8])]
    month = _month_named(text)
    if month:
        order = [(numbers[1], month, numbers[0])] if len(numbers) > 1 else []
    elif len(numbers) > 2:  # noqa: PLR2004
        first, second, third = numbers[:3]
        order = [(third, first, second), (third, second, first)]
        order = [(first, second, third)] if first > 31 else order[:: -1 if day_first else 1]  # noqa: PLR2004
    else:
        order = []
    for year, number, day in order:
        try:
            return date(year + 2000 if year < 100 else year, number, day)  # noqa: PLR2004
        except ValueError:
            continue
    return None


def _month_named(text: str) -> int | None:
    for word in re.findall(r"[^\W\d_]{3,}", text):
        month = _MONTHS.get(word[:4]) or _MONTHS.get(word[:3])
        if month and not word.endswith("day"):
            return month
    return None
