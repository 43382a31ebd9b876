"""Comparisons with earlier studies in French."""

# ruff: noqa: E501  a rule a line

from __future__ import annotations

import re

from medmm.reports.prior_form import PriorRules, Replacement, compiled, names_only

_STUDY = r"(?:examens?|clich[ée]s?|radiographies?|radios?|scanners?|tdm|irm|contr[ôo]les?|[ée]tudes?|bilans?|imageries?|images?|explorations?|comptes?[ -]rendus?)"
_OLD = r"(?:pr[ée]c[ée]dente?s?|ant[ée]rieure?s?|derni[eè]re?s?|r[ée]cente?s?|ancien(?:ne)?s?)"
_MONTH = r"(?:janvier|f[ée]vrier|mars|avril|mai|juin|juillet|ao[ûu]t|septembre|octobre|novembre|d[ée]cembre)"
_DATE = rf"(?:\d[\d/.\-]*(?:er)?(?:\s+{_MONTH})?(?:\s+\d{{4}})?|{_MONTH}(?:\s+\d{{4}})?|hier|la\s+veille)"
_WHEN = rf"(?:\s+(?:(?:dat[ée]e?|r[ée]alis[ée]e?|effectu[ée]e?)\s+)?(?:du|de|le|d'|en)\s*{_DATE})?"
_PLACE = r"(?:\s+(?:thoraciques?|pulmonaires?|standards?|du\s+thorax|de\s+(?:face|contr[ôo]le|r[ée]f[ée]rence)|thoraco-\w+))*"
_PRIOR = rf"(?:(?:l['’]|le\s+|la\s+|les\s+|aux?\s+|une?\s+|des\s+|son\s+|cet(?:te)?\s+)?(?:{_OLD}\s+)?(?:{_STUDY}{_PLACE}(?:\s+{_OLD})?{_PLACE}{_WHEN}|{_OLD}{_WHEN}|{_DATE}))"
_TO = r"(?:\s+(?:à|avec|aux?|a)\s+|\s+(?=aux?\s))"
_BE = r"(?:est|sont|reste|restent|demeure|demeurent|semble|semblent|apparaît|apparait|apparaissent)"
_DEGREE = r"(?:(?:tr[eè]s|globalement|sensiblement|nettement|l[ée]g[eè]rement|discr[eè]tement|mod[ée]r[ée]ment|strictement|grossi[eè]rement|quasi(?:ment)?|relativement|significativement)\s+)?"
_SAME = r"(?:stables?|inchang[ée]e?s?|identiques?|superposables?|similaires?|constante?s?|comparables?)"
_CHANGE = r"(?:changements?|modifications?|variations?|[ée]volutions?)\b(?!\s+(?:d[ée]g[ée]n[ée]rativ|inflammatoir|aigu|arthros|emphys[ée]mat|fibr|post|chroniqu|osseus|structur|patholog|parenchymat|interstitiel))"
_KIND = r"(?:\s+(?:significati(?:f|ve)s?|notables?|importante?s?|r[ée]cente?s?|[ée]vidente?s?|[ée]volutive?s?|particuli[eè]re?s?|franche?s?|majeure?s?))*"
_GROWN = r"(?:augmentée?s?|diminuée?s?|régressée?s?|progressée?s?|grossie?s?|évoluée?s?|changée?s?|améliorée?s?|aggravée?s?|majorée?s?|réduite?s?)"
_OF_SIZE = r"(?:\s+(?:de|en)\s+(?:taille|volume|abondance|[ée]tendue|nombre)|\s+(?:l[ée]g[eè]rement|discr[eè]tement|nettement|partiellement))*"
_THE = r"(?:l['’]|le\s+|la\s+|les\s+|d['’]une?\s+|une?\s+|des\s+)?"
_OF = r"(?:de\s+l['’]|de\s+la\s+|des\s+|du\s+|d['’]une?\s+|d['’]|de\s+)"

_REFERENCE = re.compile(
    rf"""(?P<comparison>
      \b(?:en\s+|par\s+)?comparaison\b | \bcompar(?:[ée]e?s?|er|ables?|ativ\w+)\b
    | \bpar\s+rapport{_TO}{_PRIOR} | \bdepuis\s+{_PRIOR} | \b{_STUDY}{_PLACE}\s+(?:pr[ée]c[ée]dente?s?|ant[ée]rieure?s?)\b
    | \b(?:derni[eè]re?s?|pr[ée]c[ée]dente?s?)\s+{_STUDY}\b | \b(?:pr[ée]c[ée]demment|ant[ée]rieurement)\b | \bd[ée]j[àa]\s+(?:connu|d[ée]crit|vu|visible|pr[ée]sent|signal)\w*
    )|(?P<no_change>
      \b(?:inchang[ée]e?s?|stables?|stabilit[ée]|superposables?)\b | \bidentiques?{_TO}{_PRIOR}
    | \b(?:sans|pas\s+de|pas\s+d['’]|absence\s+de|absence\s+d['’]|aucune?)\s*(?:\w+\s+){{0,2}}?{_CHANGE}
    | \bpersist(?:e|ent|ance|ante?s?)\b | \bdemeure(?:nt)?\b | (?<!\ble\s)(?<!\bdu\s)(?<!\bau\s)\breste(?:nt)?\b | \b[àa]\s+nouveau\b | \bde\s+nouveau\b | \btoujours\b
    )|(?P<new>
      \bnouve(?:aux?|l|lle|lles)\b(?!-n[ée]) | \bapparition\b | \b(?:est|sont|a|ont)\s+(?:r[ée]cemment\s+)?apparue?s?\b | \br[ée]cemment\s+apparue?s?\b
    )|(?P<change>
      \b(?:a|ont|s['’]est|se\s+sont)\s+(?:\w+\s+)?(?:{_GROWN}|disparue?s?|résolue?s?)(?!\w) | \b(?:amélioration|aggravation|majoration|régression|progression|résolution|disparition)\b | \ben\s+(?:\w+\s+)?(?:diminution|augmentation)\b
    | \bn(?:e\s+|['’])\w+(?:\s+\w+)?\s+plus\b
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def _visible(match: re.Match[str]) -> str:
    """``est visible`` for ``est stable``, ``sont visibles`` for ``restent stables``: either gender."""
    verb = match[0].lower().split()[0]
    is_plural = verb in {"sont", "ont", "se"} or verb.endswith(("ent", "aissent"))
    return "sont visibles" if is_plural else "est visible"


_RULES: tuple[tuple[str, Replacement], ...] = (
    (rf"\b{_BE}\s+{_DEGREE}{_SAME}{_TO}{_PRIOR}", _visible),
    (rf"[,(]?\s*\b{_DEGREE}{_SAME}{_TO}{_PRIOR}\)?,?", " "),
    (rf"[,(]?\s*\b(?:en|par)\s+comparaison{_TO}{_PRIOR}\)?,?", " "),
    (rf"[,(]?\s*\bcompar[ée]e?s?{_TO}{_PRIOR}\)?,?", " "),
    (rf"[,(]?\s*\bpar\s+rapport{_TO}{_PRIOR}\)?,?", " "),
    (rf"[,(]?\s*\bdepuis\s+{_PRIOR}\)?,?", " "),
    (
        r"[,(]?\s*\b(?:d[ée]j[àa]|pr[ée]c[ée]demment|ant[ée]rieurement)\s+(?:connu|d[ée]crit|vu|signal|visualis)\w*\)?",
        " ",
    ),
    (r"\b(?:[àa]|de)\s+nouveau\b\s*,?", " "),
    (r"\btoujours\b", " "),
    (rf"^\s*aspect\s+(?:stable|inchangé|superposable|identique)\s+{_OF}(?=\w)", ""),
    # pas de modification de X; X sans modification
    (
        rf"^\s*(?:(?:il\s+)?n['’]y\s+a\s+)?(?:pas\s+de\s+|pas\s+d['’]|absence\s+de\s+|absence\s+d['’]|sans\s+|aucune?\s+|de\s+|d['’])(?:\w+\s+)?{_CHANGE}{_KIND}\s+{_OF}(?:(?:taille|aspect|[ée]tendue|volume)\s+{_OF})?(?=\w)",
        "",
    ),
    (rf"[,(]?\s*\bsans\s+(?:\w+\s+){{0,2}}?{_CHANGE}{_KIND}\)?", " "),
    (rf"\b{_BE}\s+{_DEGREE}{_SAME}(?=\s*(?:$|[,;)]))", _visible),
    (rf"[,(]?\s*\b{_DEGREE}(?:stables?|inchang[ée]e?s?|superposables?|persistante?s?)(?!\w)\)?", " "),
    (rf"^\s*(?:on\s+note\s+(?:une\s+|la\s+)?)?(?:persistance|stabilit[ée])\s+{_OF}(?=\w)", ""),
    (r"\b(?:persiste|persistent|demeure|demeurent)(?=\s*$)", _visible),
    (rf"^\s*(?:il\s+)?persiste\s+(?={_THE}\w)", "Il existe "),
    (r"\b(?:reste|demeure)\b", "est"),
    (r"\b(?:restent|demeurent)\b", "sont"),
    # nouveau
    (rf"^\s*(?:on\s+note\s+)?(?:l['’])?apparition\s+{_OF}(?=\w)", ""),
    (r"[,(]?\s*\b(?:d['’]apparition\s+r[ée]cente|r[ée]cemment\s+apparue?s?)\b\)?", " "),
    (r"\b(?P<be>est|sont)\s+(?:r[ée]cemment\s+)?apparue?s?\b", _visible),
    (r"\bnouve(?:au|l|lle|aux|lles)\s+(?=\w)", ""),
    # change
    (
        rf"\b{_BE}\s+en\s+(?:\w+\s+)?(?:amélioration|aggravation|majoration|régression|progression|diminution|augmentation)\b",
        _visible,
    ),
    (rf"\b(?:a|ont|s['’]est|se\s+sont)\s+(?:\w+\s+)?{_GROWN}(?!\w){_OF_SIZE}", _visible),
    (
        r"[,(]?\s*\ben\s+(?:\w+\s+)?(?:amélioration|aggravation|majoration|régression|progression|diminution|augmentation)(?:\s+(?:partielle|franche))?\)?",
        " ",
    ),
    (
        rf"^\s*(?:on\s+note\s+une\s+)?(?:\w+\s+)?(?:amélioration|aggravation|majoration|régression|progression)(?:\s+(?:partielle|discr[eè]te|nette|l[ée]g[eè]re|mod[ée]r[ée]e|franche))?\s+{_OF}(?=\w)",
        "",
    ),
    (r",?\s*\bqui\s+(?:est\s+visible|sont\s+visibles)\b", ""),
    (r"^[\s,;:]+|[\s,;:]+$", ""),
)

FRENCH = PriorRules(
    reference=_REFERENCE,
    clause_rules=compiled(_RULES),
    gone=re.compile(
        r"\b(?:résolution|disparue?s?|disparition|résolue?s?)\b|\bn(?:e\s+|['’])\w+(?:\s+\w+)?\s+plus\b|\b(?:pas|sans|aucune?|ni|absence)\b.*\b(?:nouve(?:aux?|l|lle|lles)|apparition|apparue?s?)\b",
        re.IGNORECASE,
    ),
    unavailable=re.compile(
        rf"\b(?:pas|sans|aucune?|absence|non)\b.*\b(?:disponibles?|comparaison|comparati\w+|comparer|{_STUDY}\s+ant[ée]rieure?s?)\b|\b(?:à\s+comparer|comparer\s+aux?|confront\w+|conseill\w+|recommand\w+)\b",
        re.IGNORECASE,
    ),
    broken=(
        re.compile(
            r"(?:\b(?:à|au|aux|avec|de|du|des|en|et|ou|le|la|les|un|une|par|pour|que|qui|est|sont|a|ont|se|très|mais|sans|depuis|rapport|il|on|dans|sur|légèrement|nettement|discrètement|pas)|['’])$"
            r"|^(?:et|ou|mais|à|au|aux|de|du|des|avec|que|qui|est|sont|ont|par)\b",
            re.IGNORECASE,
        ),
        re.compile(
            r"\b(?:le|la|les|un|une|de|du|des|en|avec|sans|par|et)\s+(?:est|sont|a|ont|de|du|des|et|ou)\b|['’]\s+(?:est|sont|de|du|et)\b|,\s*,|\b(?:est|sont)\s+(?:est|sont|et|en\s+(?:taille|volume))\b|\b(\w{2,})\s+\1\b",
            re.IGNORECASE,
        ),
    ),
    clause=re.compile(
        r"[,;]\s+(?:et\s+|mais\s+|avec\s+|qui\s+)?|\s+(?:mais|et)\s+(?=(?:il|on|pas|le|la|les|sans)\b)", re.IGNORECASE
    ),
    comma=re.compile(r"[,;]\s+"),
    subordinate=re.compile(
        r"(?:si|que|qui|quand|alors|parce|bien|plus|moins|même|depuis|comme|ce\s+qui|dont)\b", re.IGNORECASE
    ),
    is_said_of_nothing=names_only(
        "silhouette cardiaque cardiomédiastinale cardio médiastinale médiastinal médiastin coeur cœur poumon poumons pulmonaire pulmonaires champs hile hiles"
        " hilaire hilaires thorax thoracique plèvre pleural pleurale pleuraux culs sac sacs cul coupole coupoles diaphragme diaphragmatique diaphragmatiques"
        " vaisseaux vasculaire vascularisation aorte trachée parenchyme osseux osseuse osseuses cadre structures squelette parties molles rachis taille aspect"
        " image images examen examens étude cliché clichés radiographie radiographies contrôle précédent précédents antérieur antérieurs reste position contours volume"
        " l d s n le la les un une de du des et ou en dans avec à au aux est sont il on y a pas de sans se note ce visible visibles présent présents droit droite gauche"
        " droits bilatéral bilatéraux supérieur inférieur deux index cardiothoracique ensemble modification modifications changement évolution significatif significative notable"
    ),
)
