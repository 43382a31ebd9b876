"""What identifiers look like in Spanish, German, French and Chinese reports, beside the looks that all languages share.

Only what has a title, a label or a form of its own: a rule that guesses is none.
"""

# ruff: noqa: E501, RUF001  a rule a line; full-width marks are meant

from __future__ import annotations

import re

from medmm.reports.deid_rules import ONE, Rule

_I = re.IGNORECASE
_WORD = rf"(?:{ONE}|[A-ZÀ-ÖØ-Þ]\.)"
_SMALL = r"(?:(?:de[ ]la|de[ ]los|de[ ]las|de|del|la|las|los|y|i|von[ ]der|von|vom|van[ ]der|van|zu|zur|du|des|le|da|dos|di|el|al|bin|DE[ ]LAS?|DE[ ]LOS|DEL|DE|VON[ ]DER|VON|VAN|ZU|DU|DES)[ ]|d['’]|l['’])"
_NAME = rf"{_SMALL}?{_WORD}(?:[ ]+{_SMALL}?{_WORD}){{0,3}}"
_LAST_FIRST = rf"{_SMALL}?{ONE}(?:[ ]+{_SMALL}?{ONE})?,[ ]*{_WORD}(?:[ ]+{_WORD})?"
_LABELLED = rf"(?P<x>{_LAST_FIRST}|{_NAME})"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_YEAR = r"(?:19|20)\d\d"
_FREE = r"(?<![\w.,/-])"
_UNIT = r"(?![ ]*(?:mm|cm|ml|kg|HU|HE|UH|kV|mAs)\b)"
_NUMBER = r"(?P<x>\+?\(?\d[\d ()./-]{2,17}\d)(?!\w)"
_ID = r"(?P<x>(?=[\w./-]*\d)[A-Z0-9][\w./-]{2,24}(?<![./-]))"
_GIVEN = r"[ ]*[:#]?[ ]*"


def _rule(kind: str, pattern: str, flags: int = 0) -> Rule:
    return Rule(kind, re.compile(pattern, flags))


def _dates(months: str, of: str, since: str) -> tuple[Rule, ...]:
    """Dates with a month's name, and a year or month and year behind a word that asks for one."""
    month = rf"(?:{months})\.?"
    return (
        _rule("DATE", rf"{_FREE}(?P<x>(?:{_DAY}|1er)\.?[ ]*{of}{month}(?:[ ]+{of}{_YEAR})?)(?!\w)", _I),
        _rule("DATE", rf"\b(?P<x>{month}[ ]+{of}{_YEAR})\b", _I),
        _rule("DATE", rf"\b(?:{since})[ ]+(?P<x>(?:(?:0?[1-9]|1[0-2])[/.])?{_YEAR})\b(?![./-]\d){_UNIT}", _I),
        _rule("DATE", rf"{_FREE}(?P<x>(?:0[1-9]|1[0-2])/{_YEAR})(?![\w/-]|\.\d)"),
    )


SPANISH = (
    _rule("NAME", rf"\b(?:Dr|Dra|Dres|Sr|Sra|Srta|Dña|Doña|Don|Prof)\b\.?[ ]+(?:(?:Dr|Dra)\.?[ ]+)?(?P<x>{_NAME})"),
    _rule(
        "NAME",
        rf"(?i:\b(?:informad[oa]|firmad[oa]|validad[oa]|realizad[oa]|revisad[oa]|solicitad[oa]|dictad[oa]|transcrit[oa])[ ]+por|\bfdo\.?)[ ]*:?[ ]*(?:(?:el|la)[ ]+)?(?:(?:Dr|Dra|Sr|Sra)\b\.?[ ]+)?{_LABELLED}",
    ),
    _rule(
        "NAME",
        rf"(?i:\b(?:paciente|nombre(?:[ ]+(?:y[ ]+apellidos|del[ ]+paciente|completo))?|apellidos(?:[ ]+y[ ]+nombre)?|m[eé]dico(?:[ ]+\w+)?|radi[oó]log[oa]|facultativo))[ ]*:[ ]*(?:(?:Dr|Dra|Sr|Sra|D|Dña)\b\.?[ ]+)?{_LABELLED}",
    ),
    *_dates(
        "enero|febrero|marzo|abril|mayo|junio|julio|agosto|sep?tiembre|octubre|noviembre|diciembre",
        "(?:de[ ]+|del[ ]+)?",
        "desde|en|del?|del?[ ]+año|año|hasta",
    ),
    _rule(
        "ID",
        r"\b(?:n[ºo°.]*[ ]*(?:de[ ]+)?)?historia(?:[ ]+cl[ií]nica)?(?:[ ]+n[ºo°]\.?)?[ ]*[:#]?[ ]*(?P<x>[A-Z]{0,3}-?\d{5,14}[A-Z]?)\b",
        _I,
    ),
    _rule(
        "ID",
        r"\b(?:NHC|N\.H\.C\.|H\.?C\.?|CIP|NIF|DNI|NIE|NUHSA|NASS|(?:n[uú]mero|n[ºo°]\.?)[ ]+(?:de[ ]+)?(?:paciente|acceso|petici[oó]n|estudio|episodio|registro|expediente|orden|afiliaci[oó]n|col(?:egiad[oa])?\.?))[ ]*[:#]?[ ]*(?P<x>(?=[\w./-]*\d{3})[A-Z0-9][\w./-]{3,24}(?<![./-]))",
        _I,
    ),
    _rule(
        "PHONE",
        rf"\b(?:tel[eé]fonos?|tel[eé]f|tfno|tel|tlf|m[oó]vil|fax|extensi[oó]n|ext|busca)\b\.?{_GIVEN}{_NUMBER}",
        _I,
    ),
    _rule("AGE", r"\b(?P<x>9\d|1[0-2]\d)(?=[ ]*años\b)", _I),
    _rule(
        "ADDRESS",
        rf"(?P<x>(?:\bC/|\b(?:Calle|Avenida|Avda|Av|Plaza|Pza|Paseo)\b\.?)[ ]*{_SMALL}*{ONE}(?:[ ]+{_SMALL}*{ONE}){{0,3}},?[ ]*(?:n[ºo°]\.?[ ]*)?\d{{1,4}}(?:,?[ ]+\d{{5}}[ ]+{ONE})?)(?!\w)",
    ),
)
_DOCTOR = r"(?:Univ\.-)?(?:Prof\.|Dr\.|PD|Priv\.-Doz\.|med\.|h\.[ ]?c\.|Dipl\.-\w+\.?)"
GERMAN = (
    _rule(
        "NAME",
        rf"\b(?:Herrn?|Frau|Hr\.|Fr\.|Oberarzt|Oberärztin|Chefarzt|Chefärztin|Assistenzarzt|Assistenzärztin|OA|OÄ|CA|Doktor)[ ]+(?:(?:{_DOCTOR}|(?:Ober|Chef|Assistenz)(?:arzt|ärztin)\b)[ ]*)*(?P<x>{_NAME})",
    ),
    _rule("NAME", rf"(?<!\w)(?:{_DOCTOR}[ ]*)+(?P<x>{_NAME})"),
    _rule(
        "NAME",
        rf"(?i:\b(?:befundet|freigegeben|diktiert|vidiert|unterschrieben|erstellt|geschrieben|signiert|angefordert)[ ]+(?:von|durch)|\bgez\.)[ ]*:?[ ]*(?:{_DOCTOR}[ ]*|Herrn?[ ]+|Frau[ ]+)*{_LABELLED}",
    ),
    _rule(
        "NAME",
        rf"(?i:\b(?:patient(?:in)?|patientenname|name|vorname|nachname|befunder(?:in)?|arzt|ärztin|radiologe|radiologin|zuweiser(?:in)?|überweiser(?:in)?|mtra?))[ ]*:[ ]*(?:{_DOCTOR}[ ]*|Herrn?[ ]+|Frau[ ]+)*{_LABELLED}",
    ),
    *_dates(
        "januar|februar|märz|april|mai|juni|juli|august|september|oktober|november|dezember|jän(?:ner)?",
        "",
        "seit|aus|im[ ]+jahre?|vom|von|bis",
    ),
    _rule("DATE", rf"{_FREE}(?P<x>(?:0[1-9]|[12]\d|3[01])\.(?:0[1-9]|1[0-2])\.\d\d)(?![\w.]){_UNIT}"),
    _rule("DATE", rf"\b(?:vom|am|seit[ ]dem|zum|bis)[ ]+(?P<x>{_DAY}\.[ ]?(?:0?[1-9]|1[0-2])\.)(?![\d]){_UNIT}"),
    _rule(
        "ID",
        rf"\b(?:(?:fall|patienten|auftrags|untersuchungs|akten|versicherten|versicherungs|aufnahme|befund|zugangs|ahv|kassen)[- ]?(?:nummer|nr\b\.?|id\b|zeichen)|pat\.?[- ]?(?:nr\b\.?|id\b)){_GIVEN}{_ID}",
        _I,
    ),
    _rule(
        "PHONE",
        rf"\b(?:telefon|tel|telefax|fax|durchwahl|dw|handy|mobil|rufnummer|funk|pieper)\b\.?(?:[- ]?(?:nr|nummer)\b\.?)?{_GIVEN}{_NUMBER}",
        _I,
    ),
    _rule("AGE", r"\b(?P<x>9\d|1[0-2]\d)(?=[ -]*(?:jähr\w*|jahre\b|j\.))", _I),
    _rule(
        "ADDRESS",
        rf"(?P<x>\b[A-ZÄÖÜ][\w-]*(?:straße|strasse|str\.|gasse|allee)[ ]\d{{1,4}}[a-z]?(?:,?[ ]+(?:D-|A-|CH-)?\d{{4,5}}[ ]+{ONE})?)(?!\w)",
    ),
)
FRENCH = (
    _rule(
        "NAME",
        rf"(?<![\w.])(?:M\.|MM\.|(?:Mme|Mmes|Mlle|Monsieur|Madame|Mademoiselle|Docteure?|Professeure?|Dr|Pr)\b\.?)[ ]+(?:(?:le|la)[ ]+)?(?:(?:Docteure?|Professeure?|Dr|Pr)\b\.?[ ]+)?(?P<x>{_NAME})",
    ),
    _rule(
        "NAME",
        rf"(?i:\b(?:sign[ée]e?|interpr[ée]t[ée]e?|valid[ée]e?|dict[ée]e?|r[ée]dig[ée]e?|relue?|lue?|adress[ée]e?|demand[ée]e?|prescrite?|r[ée]alis[ée]e?)[ ]+par)[ ]*:?[ ]*(?:(?:le|la)[ ]+)?(?:(?:Docteure?|Professeure?|Dr|Pr|Mme)\b\.?[ ]+)?{_LABELLED}",
    ),
    _rule(
        "NAME",
        rf"(?i:\b(?:patiente?|nom(?:[ ]+(?:et[ ]+pr[ée]noms?|du[ ]+patient|de[ ]+naissance))?|pr[ée]noms?|m[ée]decin(?:[ ]+\w+)?|prescripteur|radiologue|op[ée]rateur|manipulat\w+))[ ]*:[ ]*(?:(?:Docteure?|Professeure?|Dr|Pr|M|Mme)\b\.?[ ]+)?{_LABELLED}",
    ),
    *_dates(
        "janvier|f[ée]vrier|mars|avril|mai|juin|juillet|ao[ûu]t|septembre|octobre|novembre|d[ée]cembre",
        "(?:de[ ]+)?",
        "depuis|en|de[ ]l['’]ann[ée]e|ann[ée]e|du|de|jusqu['’]en",
    ),
    _rule(
        "ID",
        rf"(?:\b(?:n[°ºo]\.?|num[ée]ro)[ ]*(?:de[ ]+|d['’])?(?:dossier|patient|examen|s[ée]jour|acc[eè]s|s[ée]curit[ée][ ]+sociale|demande|identification|admission)|\bdossier[ ]+(?:n[°ºo]\.?|num[ée]ro)|\b(?:IPP|NIP|NDA|IEP|NIR|INS)\b){_GIVEN}{_ID}",
        _I,
    ),
    _rule("PHONE", rf"\b(?:t[ée]l[ée]phone|t[ée]l|portable|fax|poste|bip)\b\.?{_GIVEN}{_NUMBER}", _I),
    _rule("PHONE", r"(?<![\w.-])(?P<x>0[1-9](?:[ .-]\d{2}){4})(?![\w.-]\d|\w)"),
    _rule("AGE", r"\b(?P<x>9\d|1[0-2]\d)(?=[ ]*ans\b)", _I),
    _rule(
        "ADDRESS",
        rf"(?P<x>\b\d{{1,4}}(?:[ ]?(?:bis|ter))?,?[ ](?:rue|avenue|boulevard|place|chemin|impasse|allée|quai|route|bd|av)\b\.?[ ](?:{_SMALL}|la[ ])*{ONE}(?:[ -]+{_SMALL}*{ONE}){{0,3}}(?:,?[ ]+\d{{5}}[ ]+{ONE})?)(?!\w)",
    ),
)
_SURNAME = "[王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文欧]"
_HAN = "[一-鿿]"
CHINESE = (
    _rule(
        "NAME",
        rf"(?:姓名|(?:报告|审核|诊断|检查|申请|主治|记录|书写|复核|送检|操作)(?:医师|医生|技师|者|人)|(?:医师|医生)?签名|技师)[ ]*[:：][ ]*(?P<x>{_HAN}{{2,4}})(?=$|[\s，。；,;/（(、_]|(?:报告|审核|诊断|性别|年龄|日期))",
    ),
    _rule(
        "NAME",
        rf"(?:^|(?<=[^一-鿿])|(?<=[由向与请])|(?<=告知))(?P<x>{_SURNAME}(?!年资|级|位|血|压|密|度){_HAN}{{0,2}}?)(?=(?:主任|副主任|主治)?(?:医师|医生|教授|护士)|先生|女士)",
    ),
    _rule("NAME", rf"(?:患者|病人)[ ]*[:：]?[ ]*(?P<x>{_SURNAME}{_HAN}{{1,2}})(?=[ ]*[，,（( ]+[ ]*(?:男|女))"),
    _rule(
        "DATE",
        r"(?<!\d)(?P<x>(?:19|20)\d\d年(?:\d{1,2}月(?:\d{1,2}[日号])?)?(?:[ ]*\d{1,2}[:：时]\d{1,2}(?:[:：分]\d{0,2}秒?)?)?)",
    ),
    _rule(
        "DATE",
        rf"(?<![\d.,/-])(?P<x>{_YEAR}[-/.](?:0?[1-9]|1[0-2])[-/.]{_DAY}(?:[ ]+\d{{1,2}}:\d\d(?::\d\d)?)?)(?![\d/-])",
    ),
    _rule("DATE", r"(?<![\d年])(?P<x>(?:0?[1-9]|1[0-2])月(?:0?[1-9]|[12]\d|3[01])[日号])"),
    _rule(
        "ID",
        r"(?:病历号|病案号|住院号|门诊号|检查号|影像号|放射号|X线号|X光号|CT号|MR号|登记号|就诊号|就诊卡号|(?:患者|病人)(?:编号|号|ID)|身份证(?:号码|号)?|医保(?:卡)?号|社保(?:卡)?号|条码号|申请单号|流水号|床号)[ ]*[:：#]?[ ]*(?P<x>(?=[A-Za-z0-9-]*\d)[A-Za-z0-9][A-Za-z0-9-]{0,24})",
    ),
    _rule(
        "PHONE",
        r"(?:联系电话|电话(?:号码)?|手机(?:号码|号)?|传真|分机)[ ]*[:：]?[ ]*(?P<x>\+?\(?\d[\d ()-]{2,17}\d)(?!\d)",
    ),
    _rule("PHONE", r"(?<![\w.-])(?P<x>(?:\+86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4})(?!\d)"),
    _rule("AGE", r"(?<!\d)(?P<x>9\d|1[0-2]\d)(?=[ ]*(?:周)?岁)"),
    _rule("ADDRESS", r"(?:家庭住址|联系地址|现住址|住址|地址)[ ]*[:：][ ]*(?P<x>[^\n，。；,;]{4,60})"),
)
LANGUAGE_RULES = {"es": SPANISH, "de": GERMAN, "fr": FRENCH, "zh": CHINESE}
"""ISO 639-1 code to the rules that a language adds."""
