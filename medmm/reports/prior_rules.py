"""Comparisons with earlier studies in English: how they are worded, and how they are taken out of a clause."""

# ruff: noqa: E501  a rule a line

from __future__ import annotations

import re
from collections.abc import Callable

from medmm.reports.prior_form import PriorRules, compiled

_OLD = r"(?:prior|previous|earlier|preceding|comparison|last|recent|old(?:er)?|remote|outside)"
_PLACE = r"(?:chest|thoracic|thorax|abdominal|portable|pa|ap|lateral|frontal|plain|and|two|view|follow-?up|x-?ray)"
_STUDY = (
    r"(?:stud(?:y|ies)|exam(?:ination)?s?|radiographs?|radiography|films?|x-?rays?|x-XXXX|c\.?t\.?|cta|mri|pet|scans?|imaging|images?|reports?"
    r"|views?|chest|cxr|series|one|appearance|XXXX)"
)
_WHEN = (
    r"(?:(?:\s+(?:from|of|dated|date|on|in|performed(?: on| in)?|obtained(?: on)?|at|approximately|an?))?"
    r"\s+(?:XXXX|\d[\d/.\-]*|yesterday|earlier today|last\s+(?:week|month|year)|(?:\w+\s+)?(?:days?|weeks?|months?|years?)\s+(?:ago|earlier|prior)),?)*"
)
_PRIOR = (
    rf"(?:(?:the|that|those|this|a|any|his|her|patient's|examinations?|of)\s+)*(?:most\s+|more\s+)?"
    rf"(?:(?:{_OLD}\b|XXXX)\s*)+(?:{_PLACE}\s+)*(?:{_STUDY}\b(?:\s+(?={_STUDY}\b))?)*{_WHEN}|priors\b{_WHEN}"
)
_SINCE_WHEN = rf"(?:{_PRIOR}|(?:the\s+)?(?:XXXX|\d[\d/.\-]*|yesterday|then|that time){_WHEN})"
_DEGREE = (
    r"(?:\b(?:significantly|grossly|relatively|essentially|largely|overall|otherwise|slightly|mildly|minimally|markedly|moderately|somewhat"
    r"|fairly|generally|not|again|perhaps|probably|likely|substantially|stably|radiographically|clinically|both|all|also|now)\s+)*"
)
_SAME = r"(?:stable|unchanged|unaltered|not\s+(?:\w+\s+)?changed|the\s+same|constant)"
_CHANGED = (
    r"(?:increas(?:ed|ing)|decreas(?:ed|ing)|improv(?:ed|ing)|worse(?:n(?:ed|ing))?|progress(?:ed|ing)|enlarg(?:ed|ing)|diminish(?:ed|ing)"
    r"|resolv(?:ed|ing)|clear(?:ed|ing)|developed|changed|grown|reduced|larger|smaller)"
)
_BE = r"(?:is|are|was|were|appears?|appeared|remains?|remained|looks?|seems?|has\s+been|have\s+been|has\s+remained|have\s+remained)"
_SEEN = r"(?:seen|noted|demonstrated|identified|visualized|visuali[sz]ed|present|evident|shown|appreciated|observed|visible|redemonstrated)"
_AMOUNT = r"(?:(?:significant|interval|appreciable|definite|substantial|gross|acute|suspicious|mild|slight|marked|minimal|moderate|further|obvious|apparent|detectable|XXXX|any|overall|some)\s+)*"
_NOUN = r"(?:increase|decrease|improvement|worsening|progression|enlargement|reduction|change|changes|development|appearance|growth|exacerbation|placement|insertion)"
_FORWARD = r"(?:increasing|decreasing|improving|worsening|resolving|enlarging|progressive|persistent|persisting|stable|unchanged|new|newly|interval|redemonstrated|continued|re-?demonstrated)"

_REFERENCE = re.compile(
    rf"""(?P<comparison>
      \bcompar(?:ed|isons?|able|e|ing)\b
    | \b(?:since|than\s+on|than|from|on|to|with)\s+(?:(?:the|that|a|any)\s+)*(?:most\s+)?(?:prior|previous|earlier|preceding|last|recent|old)\s+(?:{_PLACE}\s+)*{_STUDY}\b
    | \b(?:similar|identical)\s+to\s+(?:the\s+)?{_OLD}\b | \bsince\s+(?:the\s+)?(?:\w+\s+)?(?:ct|radiographs?|exam\w*|stud(?:y|ies)|films?)\b
    | \b(?:since|from|to|than)\s+(?:the\s+)?(?:prior|previous|priors)(?=\s*(?:[.,;)]|$|XXXX))
    | \bsince\s+(?:the\s+)?(?:XXXX|\d|yesterday|then|that)
    | \b(?:prior|previous|earlier|preceding|old)\s+(?:{_PLACE}\s+)*(?:stud(?:y|ies)|exam(?:ination)?s?|radiographs?|films?|x-?rays?|x-XXXX|ct\b|scans?|images?|imaging|reports?|cxr)
    | \bas\s+(?:before|previously|on\s+prior)\b | \bpreviously\b | \bon\s+priors?\b
    )|(?P<no_change>
      \b(?:un-?changed|unaltered|stable|stability|stably|(?<!concern\s)(?<!symptoms\s)persist(?:s|ed|ent|ently|ing|ence)?|remain(?:s|ed)?)\b
    | \bremain\b | \b(?:no|without|not?\s+any)\s+(?:\w+[\s,]+(?:or\s+)?){{0,4}}change\b | \b(?:not|have|has)\s+(?:\w+\s+)?changed\b
    | \bagain\b | \bre-?(?:demonstrat\w+|identified|visuali[sz]ed) | \bstill\b | \bcontinue[sd]?\b | \bcontinuing\b
    )|(?P<new>
      \b(?:new|newly)\b | \b(?:has|have)\s+(?:\w+\s+)?(?:developed|appeared)\b
    )|(?P<change>
      \binter(?:val|im)\b(?!\s+(?:follow|repeat)) | \bno\s+longer\b | \bnow\b
    | \b(?:increasing|decreasing|improving|improved|improvement|improves|worsen(?:ed|ing|s)|resolving|enlarging|progress(?:ed|ive|ively|ing|ion))\b
    | \b(?:has|have)\s+(?:been\s+)?(?:\w+\s+)?(?:{_CHANGED}|removed|placed|advanced|retracted)\b
    | \b(?:increased|decreased|larger|smaller|enlarged)\s+(?:in\s+(?:size|number|extent|prominence)|since|from)\b
    | \b(?:near\s*-?|almost\s+)?(?:complete(?:ly)?\s+)?(?:resolved|resolution\s+of)\b
    )""",
    re.IGNORECASE | re.VERBOSE,
)


_LENGTH = r"\d+(?:\.\d+)?(?:\s*(?:x|by)\s*\d+(?:\.\d+)?)?\s*(?:mm|cm)?"
_GROWN = r"(?:grown|increased|decreased|shrunk|enlarged)(?:\s+in\s+size)?"


def _present(match: re.Match[str]) -> str:
    """``is present`` for ``remains stable``, ``are present`` for ``remain stable``."""
    verb = match[0].lower().split()[0]
    return (
        "are present"
        if verb in {"are", "were", "have", "appear", "remain", "look", "seem", "persist"}
        else "is present"
    )


_RULES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"\bthere\s+(?:has|have)\s+been\b|\bthere's(?:\s+been)?\b", "there is"),
    (r"\((?:[\w ]+\s)?(?:unchanged|stable|new|improved|worse)(?:\s[^()]*)?\)", " "),
    # an earlier length
    (rf",?\s*\(?\bpreviously\s+(?:measur(?:ed|ing)\s+)?(?:about\s+)?{_LENGTH}\)?,?", " "),
    (rf"\bmeasured\s+{_LENGTH}\s+previously\s*,?\s*(?:and\s+|but\s+)?(?:now\s+)?", " "),
    (rf"\bhas\s+{_GROWN}\s+from\s+{_LENGTH}\s+to\s+(?=\d)", "measures "),
    (rf"\bhave\s+{_GROWN}\s+from\s+{_LENGTH}\s+to\s+(?=\d)", "measure "),
    # comparisons with a study that is named
    (
        rf"[,(]?\s*(?:\b(?:also|and|but)\s+)?{_DEGREE}\b(?:increased|decreased|increasing|decreasing|more\s+\w+|less\s+\w+|larger|smaller)(?:\s+in\s+\w+)?"
        r"(?:\s+XXXX)?(?=\s*,?\s*(?:(?:as\s+|when\s+)?compared|since|than|from\s+(?:the\s+)?(?:prior|previous)))",
        " ",
    ),
    (
        rf"[,(]?\s*\b(?:as|when|in)?\s*\b(?:compared|comparison|compare)\s+(?:to|with)\s+(?:{_PRIOR}|{_SINCE_WHEN})\)?[,:]?",
        " ",
    ),
    (
        rf"[,(]?\s*\b(?:most\s+)?(?:similar|identical)(?:\s+in\s+(?:appearance|size|position))?\s+(?:to|as)\s+(?:{_PRIOR})\)?,?",
        " , ",
    ),
    (
        rf"\b{_BE}\s+{_DEGREE}(?:similar|unchanged|stable)(?:\s+in\s+appearance)?\s+(?:to|from|since|compared)\s+(?:{_SINCE_WHEN})",
        _present,
    ),
    (rf"[,(]?\s*\b(?:since|from|than\s+on|than|on)\s+(?:{_PRIOR})\)?,?", " "),
    (rf"[,(]?\s*\bsince\s+(?:{_SINCE_WHEN})\)?,?", " "),
    (r"[,(]?\s*\b(?:over|during|in|within)\s+(?:the\s+)?(?:interval|interim)\)?,?", " "),
    (r"[,(]?\s*\bas\s+(?:before|previously)(?:\s+\w+ed)?\)?,?", " "),
    (r"\b(?:which|that)\s+(?:was|were)\s+(?:also\s+)?previously\s+\w+\b", " "),
    (
        r"\bpreviously\s+(?:seen|noted|described|identified|demonstrated|visuali[sz]ed|mentioned|reported|biopsied)\b",
        " ",
    ),
    (rf",?\s+(?:or|and)\s+{_AMOUNT}interval\s+change\b", " "),
    (r"\b(?:resolving\s+or\s+developing|developing\s+or\s+resolving)\b", " "),
    # again seen
    (rf"^\s*(?:once\s+)?again\s*,?\s*(?:{_SEEN}\s+)?(?P<be>is|are)\s+", r"There \g<be> "),
    (rf"^\s*(?:once\s+)?again\s*,?\s*{_SEEN}\s+", ""),
    (r"^\s*we\s+again\s+(?:note|see)\s+(?:the\s+)?", ""),
    (r"\bredemonstration\s+of\s+(?:the\s+|an?\s+)?", ""),
    (r"\b(?:once\s+)?again\b\s*,?", " "),
    (r"^\s*re-?demonstrated\s+(?:is\s+|are\s+)?", ""),
    (r"\bre-?(?:demonstrated|identified|visuali[sz]ed)\b", "seen"),
    # no change in X
    (
        rf"^\s*(?:there\s+(?:is|are|has\s+been|have\s+been)\s+)?no\s+{_AMOUNT}change\s+(?:in|of)\s+(?:(?:the\s+)?(?:size|appearance|position|extent|location|degree|configuration)"
        r"(?:\s+(?:and|or)\s+(?:size|appearance|position|extent))?\s+of\s+)?(?:the\s+|an?\s+)?",
        "",
    ),
    (
        rf",?\s*\b(?:with\s+no|without|no)\s+{_AMOUNT}change\b(?:\s+in\s+(?:size|appearance|position|alignment|configuration))?",
        " ",
    ),
    (
        rf",?\s*\b(?:which|that)\s+{_BE}\s+{_DEGREE}(?:{_SAME}|{_CHANGED})(?:\s+in\s+(?:size|appearance|position|extent|number))?",
        " ",
    ),
    # there has been interval increase in X
    (
        rf"\b{_AMOUNT}interval\s+{_AMOUNT}{_NOUN}(?:\s+(?:and|or)\s+{_NOUN})?\s+(?:in|of|to)\s+(?:(?:the\s+)?(?:size|extent|degree|number|appearance)(?:\s+and\s+(?:size|number|extent))?(?:\s+(?:of|in)\s+|\s*$))?(?:the\s+)?",
        "",
    ),
    (
        rf"\b{_AMOUNT}(?:improvement|worsening|progression)\s+(?:in|of)\s+(?:(?:the\s+)?(?:size|extent|degree|number|appearance)\s+of\s+)?(?:the\s+)?",
        "",
    ),
    (
        r"\bthere\s+is\s+(?=(?:\w+\s+){0,4}(?:opacities|effusions|infiltrates|nodules|changes|densities)\b)",
        "there are ",
    ),
    (r"\b(?:has|have)\s+(?:\w+\s+)?(?:developed|appeared)\b", _present),
    # X is stable and normal; X is unchanged
    (
        rf"\b(?P<be>{_BE})\s+{_DEGREE}{_SAME}(?:\s+in\s+(?:appearance|size|position|configuration|contour)(?:\s+and\s+(?:size|contour|position))?)?\s*(?:,\s*)?(?:and|but|,)\s+(?=(?:within\s+normal|normal|unremarkable|clear|mildly|moderately|borderline|enlarged|at\s+the\s+upper|not\s+enlarged|top))",
        r"\g<be> ",
    ),
    (
        rf"\b(?P<what>(?:is|are)\s+(?:[\w/-]+\s+){{1,4}}?(?:limits|normal|enlarged|tortuous|elevated|unremarkable|clear))\s*,?\s*(?:and|but)\s+{_DEGREE}{_SAME}\b",
        r"\g<what>",
    ),
    (
        rf"(?<!there )\b{_BE}\s+{_DEGREE}(?:{_SAME}|similar|increas(?:ed|ing)|decreas(?:ed|ing)|improv(?:ed|ing)|worse(?:n(?:ed|ing))?|progress(?:ed|ing))"
        r"(?:\s+in\s+(?:the\s+)?(?:size|appearance|position|extent|number|prominence|configuration|alignment|place))?"
        r"(?=\s*(?:$|[,;.)]|XXXX|(?:in|on|from|since|with|at|and|but|bilaterally|compared|as|over|within|throughout|without)\b))",
        _present,
    ),
    (
        rf"\b(?:has|have)\s+(?:been\s+)?{_DEGREE}(?:{_CHANGED})(?:\s+in\s+(?:size|appearance|position|extent|number))?",
        _present,
    ),
    (
        rf"\b(?:{_DEGREE})(?:unchanged|stable)\s+(?:position|appearance|size|configuration|alignment)\s+of\s+(?:the\s+|an?\s+)?",
        " ",
    ),
    (
        rf"[,(]?\s*\b(?:in\s+)?(?:{_DEGREE})(?:unchanged|stable)\s+(?:in\s+)?(?:position|appearance|size|configuration|alignment)\b\)?",
        " ",
    ),
    (r"(?<!concern )(?<!symptoms )\b(?:persists?|continues?)\b(?!\s+to)", _present),
    (r"\bcontinues?\s+to\s+(?:be|have|show|demonstrate)\b", "is"),
    (r"\bremains?(?=\s*(?:$|[,;]))", _present),
    (r"\b(?:has|have)\s+remained\b|\bremained\b|\bremains\b", "is"),
    (r"\bremain\b", "are"),
    # adjectives and adverbs
    (r"\bno\s+new\s+or\s+", "no "),
    (r"\bno\s+(?P<words>(?:\w+\s+)?)(?:or\s+)?new\s+(?P<acute>acute\s+)?", r"no \g<words>acute "),
    (r"\b(?:no|without)\s+acute\s+acute\b", "no acute"),
    (r"\b(?:an?\s+)(?:new|newly|stable|unchanged|persistent|interval|progressive)\s+(?=[aeiou])", "an "),
    (r"\b(?:an?\s+)(?:new|newly|stable|unchanged|persistent|interval|progressive)\s+(?=[^aeiou])", "a "),
    (
        rf"\b(?:slowly|mildly|slightly|minimally|chronically|grossly|essentially|relatively|otherwise)?\s*\b{_FORWARD}(?:\s*(?:,|and|but|or)\s+(?:slightly\s+|mildly\s+)?(?:{_FORWARD}|increased|decreased|improved))*\b,?(?=\s+\w)",
        " ",
    ),
    (r"\b(?:improved|improving)\s+(?=\w)", " "),
    (rf"[,(]?\s*(?:and\s+|but\s+|which\s+(?:is|are)\s+)?{_DEGREE}\b(?:unchanged|stable)\s*\)?(?=\s*(?:$|[,;]))", " "),
    (r"\b(?:still|now|stably|persistently|progressively)\b", " "),
    (r"\b(?P<what>increased|decreased|larger|smaller|enlarged)\s+in\s+(?:size|number|extent)\b", " "),
    # repairs
    (r",?\s+and\s+(?:is|are)\s+present\b(?=\s*(?:$|[,;]))", ""),
    (r",\s+(?=(?:is|are)\b)", " "),
    (r"\bis\s+present\s+(?:and\s+)?(?=(?:mildly|moderately|within|normal|enlarged)\b)", "is "),
    (
        r"^\s*(?:and|but|with|of|the\s+appearance\s+of\s+the|appearance\s+of\s+(?:the\s+)?|position\s+of\s+(?:the\s+|an?\s+)?|size\s+of\s+(?:the\s+)?)\s*(?=\w)",
        "",
    ),
    (r"\bthere\s+(?:is|are)\s+(?=there\b|no\b\s*$)", ""),
    (r"^[\s,;:]+|[\s,;:]+$", ""),
)
_CLAUSE_RULES = compiled(_RULES)

_ANATOMY = (
    "heart size contour contours silhouette mediastinum mediastinal cardiac cardiomediastinal hilar hilum hila lung lungs chest bones bony"
    " osseous structures thorax thoracic pulmonary vascularity vasculature vascular vessels examination exam study studies"
    " appearance findings finding aeration volumes volume spine soft tissues diaphragm diaphragms pleural spaces pleura aorta"
    " trachea position silhouettes cardiopulmonary shadow shadows width borders border parenchyma skeletal tissue caliber cardio"
    " superior radiograph film inspiration process status clips visualized other remainder upper abdomen rib ribs ventilation"
    " right left bilateral both upper lower the a an of and is are in or appears there has been have was were present seen noted"
    " overall otherwise also these this those it they which that identified demonstrated normal-appearing interval improved"
    " little no not acute significant definite change changes abnormality disease available for prior priors previous comparison film"
    " comparisons appearing well see above however it shows show removal resolution remain sized to with be as very at all slightly mild mildly moderate moderately apparent some its their here on by xxxx"
).split()
_GONE = re.compile(
    r"\binterval\s+(?:\w+\s+)?(?:\w+\s+)?(?:removal|resolution|extubation|clearing|exchange|retraction|advancement)\b|\bresolution\b|\bresolved\b"
    r"|\bno\s+longer\b|\b(?:has|have)\s+(?:been\s+)?(?:\w+\s+)?(?:removed|cleared)\b",
    re.IGNORECASE,
)
_UNAVAILABLE = re.compile(
    r"\b(?:films?|stud(?:y|ies)|exams?|examinations?|radiographs?|images?|comparisons?|priors?|reports?)\b[^,;]*\b(?:un)?available\b"
    r"|\bfor\s+(?:\w+\s+)?comparison\b|\bno\s+(?:\w+\s+)?comparisons?\b|\b(?:compare|comparison|correlat\w+|consider|recommend\w*)\b[^,;]*\b(?:prior|previous|comparison|old)\b",
    re.IGNORECASE,
)
_NOTHING = frozenset(_ANATOMY)
_DENIAL = re.compile(r"\b(?:no|without|not)\b", re.IGNORECASE)
_DENIED = re.compile(r"\b(?:abnormalit|disease|process|change|acute)", re.IGNORECASE)


def _is_said_of_nothing(words: str) -> bool:
    if _DENIAL.search(words) and _DENIED.search(words):
        return False
    found = re.findall(r"[a-z][a-z-]*", words.lower())
    return all(word in _NOTHING for word in found)


_CLAUSE = re.compile(
    r"(?:[,;]\s+(?:and\s+|but\s+|with\s+|which\s+|however,?\s+)?|\s+(?:but|however|although|and)\s+(?=(?:there|no|the)\b))"
)
_DANGLING = re.compile(
    r"(?:\b(?:to|with|from|of|in|and|or|the|a|an|but|is|are|was|were|than|since|for|by|at|on|as|has|have|been|there|which|that"
    r"|which\s+(?:is|are)|shows?|appears?|appear|demonstrates?|consider|recommend|slightly|mildly|significantly|very|however)\s*[.,;]*$)|^(?:and|or|but|of|to|with|than|since|is|are|was|were|has|have|which|that|by)\b",
    re.IGNORECASE,
)
_BROKEN = re.compile(
    r"\b(?:the|a|an|of|in|to|from|with)\s+(?:is|are|was|were|has|have|and|of|from|or|but)\b|,\s*,"
    r"|\b(?:is|are)\s+(?:is|are|of|in size|and|or|from)\b"
    r"|\b(?:has|have|represent|be)\s+(?:and|or)\b"
    r"|\b(?:consider|recommended?|correlate)\s+(?:if|and|with\s+if)\b"
    r"|\b(?:to|from|than|of)\s+(?:from|than|of|to)\b|\b(\w{2,})\s+\1\b(?<!XXXX)",
    re.IGNORECASE,
)
_SUBORDINATE = re.compile(
    r"(?:if|which|when|while|as|because|since|possibly|more|less|though|although|even|than)\b", re.IGNORECASE
)

ENGLISH = PriorRules(
    reference=_REFERENCE,
    clause_rules=_CLAUSE_RULES,
    gone=_GONE,
    unavailable=_UNAVAILABLE,
    broken=(_DANGLING, _BROKEN),
    clause=_CLAUSE,
    comma=re.compile(r"[,;]\s+"),
    subordinate=_SUBORDINATE,
    is_said_of_nothing=_is_said_of_nothing,
)
