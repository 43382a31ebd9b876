"""Comparisons with earlier studies in Spanish."""

# ruff: noqa: E501  a rule a line

from __future__ import annotations

import re

from medmm.reports.prior_form import PriorRules, Replacement, compiled, names_only

_STUDY = r"(?:estudios?|radiograf[ií]as?|rx|placas?|controles|control|exploraci[oó]n|exploraciones|ex[aá]menes|examen|tcs?|tac|tomograf[ií]as?|im[aá]genes|imagen|informes?)"
_OLD = r"(?:previ[oa]s?|anterior(?:es)?|preced?entes?|[uú]ltim[oa]s?|recientes?)"
_DATE = r"(?:\d[\d/.\-]*(?:\s+de\s+[a-z]+)?(?:\s+(?:de\s+|del\s+)?\d{4})?|ayer|hace\s+\w+\s+\w+|(?:enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre)(?:\s+(?:de\s+|del\s+)?\d{4})?)"
_WHEN = rf"(?:(?:\s+(?:de|del|con\s+fecha|fechad[oa]|realizad[oa]|efectuad[oa]))?(?:\s+(?:de|del|el|en|d[ií]a|fecha))*\s+{_DATE})?"
_PLACE = r"(?:\s+(?:de\s+t[oó]rax|tor[aá]cic[oa]s?|simples?|del?\s+control))*"
_PRIOR = (
    rf"(?:(?:el|la|los|las|su|un|una|otr[oa])\s+)?(?:m[aá]s\s+)?(?:{_OLD}\s+)?(?:{_STUDY}{_PLACE}(?:\s+(?:m[aá]s\s+)?{_OLD})?(?:\s+disponibles?)?{_WHEN}"
    rf"|(?<=\s){_OLD}{_WHEN}|{_DATE})"
)
_THIS = r"(?:(?:el|la)\s+)?"
_DEGREE = r"(?:(?:muy|claramente|discretamente|ligeramente|levemente|moderadamente|significativamente|pr[aá]cticamente|aproximadamente|bastante|globalmente)\s+)?"
_BE = r"(?:es|est[aá]|son|est[aá]n|permanecen?|se\s+mantienen?|mantienen?|contin[uú]an?|siguen?)"
_CHANGES = r"(?:cambios?|variaci[oó]n|variaciones|modificaci[oó]n|modificaciones)\b(?!\s+(?:degenerativ|agud|inflamator|patol[oó]gic|pleur|parenquim|fibr|[oó]se|post|cr[oó]nic|artr|espondil|residual|intersticial|enfisemat|estructural|secundari|bronc|atelect))"
_KIND = r"(?:\s+(?:significativ[oa]s?|relevantes?|importantes?|apreciables?|valorables?|destacables?|evolutiv[oa]s?|aparentes?|reseñables?|evidentes?|en\s+el\s+intervalo))*"
_GROWN = r"(?:aumentado|disminuido|mejorado|empeorado|progresado|crecido|reducido|cambiado|variado|evolucionado)"
_OF_SIZE = r"(?:\s+(?:de|en)\s+(?:tama[ñn]o|volumen|extensi[oó]n|cuant[ií]a|n[uú]mero|densidad)|\s+(?:ligeramente|discretamente|levemente|significativamente|claramente|parcialmente))*"

_REFERENCE = re.compile(
    rf"""(?P<comparison>
      \b(?:en\s+)?comparaci[oó]n\b | \bcompara(?:d[oa]s?|ndo|tiv[oa]s?|r|ble)?\b
    | \b(?:con\s+)?respecto\s+(?:al?\s+|del\s+){_PRIOR} | \bdesde\s+{_PRIOR} | \b(?:similar(?:es)?|igual(?:es)?|superponibles?)\s+al?\s+{_PRIOR}
    | \b{_STUDY}{_PLACE}\s+(?:m[aá]s\s+)?(?:previ[oa]s?|anterior(?:es)?)\b | \b[uú]ltim[oa]\s+{_STUDY}
    | \b(?:previamente|ya|anteriormente)\s+(?:descrit|conocid|vist|visualizad|informad|se[ñn]alad|presente|visible|existente)\w*
    )|(?P<no_change>
      \b(?:sin|no)\s+(?:\w+\s+){{0,3}}?{_CHANGES} | \bestabilidad\b | \b(?<!hemodin[aá]micamente\s)estables?\b(?!\s+hemodin)
    | \bpersist(?:en?|encia|entes?|iendo|i[oó])\b | \bcontin[uú]an?\b | \b(?:se\s+)?mantienen?\b | \bpermanecen?\b | \bsiguen?\b | \bin(?:variables?|variad[oa]s?|alterad[oa]s?)\b
    | \bnuevamente\b | \bde\s+nuevo\b | \bsuperponibles?\b
    )|(?P<new>
      \bnuev[oa]s?\b | \b(?:de\s+)?(?:reciente\s+)?aparici[oó]n\b | \bhan?\s+aparecido\b
    )|(?P<change>
      \bhan?\s+(?:\w+\s+)?(?:{_GROWN}|desaparecido|resuelto|remitido|retirado)\b | \b(?:mejor[ií]a|empeoramiento|progresi[oó]n|resoluci[oó]n|desaparici[oó]n)\b
    | \bya\s+no\b | \ben\s+el\s+intervalo\b | \b(?:aumento|disminuci[oó]n|reducci[oó]n|incremento)\s+evolutiv[oa]\b
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def _present(match: re.Match[str]) -> str:
    """``está presente`` for ``permanece estable``, ``están presentes`` for ``permanecen estables``."""
    verb = match[0].lower().removeprefix("se ").split()[0]
    return "están presentes" if verb in {"son", "han"} or verb.endswith(("en", "an", "án")) else "está presente"


_RULES: tuple[tuple[str, Replacement], ...] = (
    (rf"\b{_BE}\s+{_DEGREE}(?:similar(?:es)?|iguales|igual|superponibles?)\s+al?\s+{_PRIOR}", _present),
    (rf"[,(]?\s*\b{_DEGREE}(?:similar(?:es)?|iguales|igual|superponibles?)\s+al?\s+{_PRIOR}\)?,?", " "),
    (
        rf"[,(]?\s*\b(?:(?:en|por)\s+)?(?:comparaci[oó]n|comparad[oa]s?|comparando|comparativamente)\s+(?:con\s+|al?\s+){_PRIOR}\)?,?",
        " ",
    ),
    (rf"[,(]?\s*\b(?:con\s+)?respecto\s+(?:al?|del)\s+{_PRIOR}\)?,?", " "),
    (rf"[,(]?\s*\bdesde\s+{_PRIOR}\)?,?", " "),
    (r"[,(]?\s*\ben\s+el\s+intervalo\b\)?", " "),
    (
        r"[,(]?\s*\b(?:previamente|ya|anteriormente)\s+(?:descrit|conocid|vist|visualizad|informad|se[ñn]alad|existente)\w*\)?",
        " ",
    ),
    (r"\b(?:nuevamente|de\s+nuevo)\b\s*,?", " "),
    # sin cambios en X; X sin cambios
    (
        rf"^\s*(?:no|sin)\s+(?:(?:se\s+\w+|hay|existen?|muestra|presenta)\s+)?(?:\w+\s+)?{_CHANGES}{_KIND}\s+(?:en|del?)\s+(?:{_THIS}(?:tama[ñn]o|aspecto|extensi[oó]n|morfolog[ií]a|posici[oó]n)\s+(?:de|del)\s+)?(?:(?:el|la|los|las)\s+)?(?=\w)",
        "",
    ),
    (rf"[,(]?\s*\b(?:{_BE}\s+)?sin\s+(?:\w+\s+){{0,2}}?{_CHANGES}{_KIND}\)?", " "),
    (r"[,(]?\s*\ben\s+(?:situaci[oó]n|posici[oó]n|localizaci[oó]n)\s+(?:estable|invariable|similar)\b\)?", " "),
    (
        r"^\s*(?:aspecto|tama[ñn]o|situaci[oó]n|posici[oó]n)\s+(?:estable|invariable|similar)\s+del?\s+(?:(?:el|la|los|las)\s+)?(?=\w)",
        "",
    ),
    # X permanece estable
    (
        rf"\b{_BE}\s+{_DEGREE}(?:estables?|invariables?|invariad[oa]s?|inalterad[oa]s?|similar(?:es)?|iguales|igual)(?=\s*(?:$|[,;)]|en|de|y)\b|\s*$)",
        _present,
    ),
    (rf"[,(]?\s*\b{_DEGREE}(?:estables?|invariables?|invariad[oa]s?|inalterad[oa]s?|persistentes?)\b\)?", " "),
    (
        r"^\s*(?:se\s+observa\s+)?(?:persisten?|contin[uú]an?|se\s+mantienen?|persistencia\s+del?|estabilidad\s+del?)\s+(?:(?:el|la|los|las|un|una|unos|unas)\s+)?(?=\w)",
        "",
    ),
    (r"\b(?:persisten?|contin[uú]an?|se\s+mantienen?)(?=\s*$)", _present),
    # nuevo
    (r"\bha\s+aparecido\b", "se observa"),
    (r"\bhan\s+aparecido\b", "se observan"),
    (r"^\s*(?:reciente\s+)?aparici[oó]n\s+del?\s+(?:(?:el|la|los|las|un|una|unos|unas)\s+)?", ""),
    (r"[,(]?\s*\bde\s+(?:nueva|reciente)\s+aparici[oó]n\b\)?", " "),
    (r"\bnuev[oa]s?\s+(?=\w)", " "),
    # change
    (rf"\b(?P<be>ha|han)\s+(?:\w+\s+)?{_GROWN}{_OF_SIZE}", _present),
    (
        r"^\s*(?:\w+\s+)?(?:mejor[ií]a|empeoramiento|progresi[oó]n|(?:aumento|disminuci[oó]n|reducci[oó]n|incremento)\s+evolutiv[oa])(?:\s+(?:parcial|discreta|leve|clara|evidente))?\s+del?\s+(?:(?:el|la|los|las)\s+)?(?=\w)",
        "",
    ),
    (r",?\s*\bque\s+(?:está\s+presente|están\s+presentes)\b", ""),
    (r"\bpermanece\b", "está"),
    (r"\bpermanecen\b", "están"),
    (r"^[\s,;:]+|[\s,;:]+$", ""),
)

SPANISH = PriorRules(
    reference=_REFERENCE,
    clause_rules=compiled(_RULES),
    gone=re.compile(
        r"\b(?:resoluci[oó]n|resuelto|desaparecido|desaparici[oó]n|remitido|retirado)\b|\bya\s+no\b|\b(?:sin|no|ni|tampoco)\b.*\b(?:nuev[oa]s?|aparici[oó]n|aparecido)\b",
        re.IGNORECASE,
    ),
    unavailable=re.compile(
        rf"\b(?:no|sin)\b.*\b(?:disponemos|dispone|disponibles?|comparar|comparaci[oó]n|comparativ[oa]s?|aportan?)\b|\b(?:recom\w+|aconsej\w+|valorar|sugier\w+|sugerimos)\b.*\b(?:compar|previ|anterior)|\b{_STUDY}\s+(?:previ|anterior)\w*\s+(?:no\s+)?(?:disponible|para)",
        re.IGNORECASE,
    ),
    broken=(
        re.compile(
            r"\b(?:a|al|con|de|del|en|y|o|e|u|el|la|los|las|un|una|por|para|que|es|son|est[aá]n?|ha|han|se|muy|pero|sin|desde|respecto|hay|no|m[aá]s|ligeramente|discretamente)$"
            r"|^(?:y|o|pero|a|al|de|del|con|que|es|son|est[aá]n?|ha|han|respecto|por)\b",
            re.IGNORECASE,
        ),
        re.compile(
            r"\b(?:el|la|los|las|un|una|de|del|en|con|sin|por|y)\s+(?:es|son|est[aá]n?|ha|han|de|del|y|o)\b|,\s*,|\b(?:es|son|est[aá]n?)\s+(?:es|son|est[aá]n?|y|en\s+tama)\b|\b(\w{2,})\s+\1\b",
            re.IGNORECASE,
        ),
    ),
    clause=re.compile(
        r"[,;]\s+(?:y\s+|pero\s+|con\s+|aunque\s+|que\s+)?|\s+(?:pero|aunque|y)\s+(?=(?:hay|no|el|la|los|las|se|sin)\b)",
        re.IGNORECASE,
    ),
    comma=re.compile(r"[,;]\s+"),
    subordinate=re.compile(
        r"(?:si|que|cuando|mientras|porque|aunque|m[aá]s|menos|incluso|desde|como|lo\s+que)\b", re.IGNORECASE
    ),
    is_said_of_nothing=names_only(
        "silueta cardiaca cardíaca cardiomediastínica cardiomediastinica mediastínica mediastinica mediastino corazón corazon pulmón pulmon pulmones pulmonar"
        " pulmonares campos hilios hilio hiliar hiliares tórax torax torácica toracica pleura pleural pleurales senos seno costofrénicos costofrénico diafragma"
        " diafragmas hemidiafragmas vasos vascular vasculatura aorta tráquea traquea parénquima parenquima óseas oseas óseo estructuras marco esqueleto partes"
        " blandas columna tamaño tamano aspecto imagen imágenes imagenes estudio estudios radiografía radiografia exploración control previo previa anterior"
        " hallazgos hallazgo resto situación situacion morfología contorno contornos el la los las un una de del y e o en con a al se es son está están esta"
        " estan hay no sin observa observan aprecia aprecian muestra muestran presenta presentan ha han presente presentes cambios cambio derecho derecha izquierdo"
        " izquierda ambos ambas bilateral bilaterales superior inferior significativos significativas relevantes también tambien así su sus"
    ),
)
