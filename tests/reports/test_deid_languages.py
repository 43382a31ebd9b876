"""Identifiers in Spanish, German, French and Chinese reports, and what only looks like one."""

# ruff: noqa: E501, RUF001  a sentence a line; full-width marks are meant

from __future__ import annotations

import pytest

from medmm.reports.deid import deidentify

# language | text | what stands there afterwards
TABLE = """
es | Comentado con la Dra. García López por teléfono. | Comentado con la Dra. [NAME1] por teléfono.
es | Informado por: Dr. Juan Martínez Ruiz | Informado por: Dr. [NAME1]
es | Firmado por María del Carmen Ortega Sanz. | Firmado por [NAME1].
es | Paciente: Fernández Gil, Antonio | Paciente: [NAME1]
es | Nombre y apellidos: LUCÍA PÉREZ DE LA FUENTE | Nombre y apellidos: [NAME1]
es | La Sra. Núñez refiere disnea. | La Sra. [NAME1] refiere disnea.
es | Médico solicitante: Dra. Vega | Médico solicitante: Dra. [NAME1]
es | Se compara con radiografía de 12/03/2021. | Se compara con radiografía de [DATE1].
es | Estudio del 3 de marzo de 2021. | Estudio del [DATE1].
es | TC de marzo de 2019 sin hallazgos. | TC de [DATE1] sin hallazgos.
es | Intervenido en 2015 de valvulopatía. | Intervenido en [DATE1] de valvulopatía.
es | Historia clínica: 4471203 | Historia clínica: [ID1]
es | NHC 884512 | NHC [ID1]
es | DNI: 12345678Z | DNI: [ID1]
es | Nº de petición: RX-20993 | Nº de petición: [ID1]
es | Dr. Soler, nº de colegiado 28/12345 | Dr. [NAME1], nº de colegiado [ID1]
es | Tfno. 912 345 678 | Tfno. [PHONE1]
es | Teléfono: 654-12-34-56 | Teléfono: [PHONE1]
es | Mujer de 93 años con disnea. | Mujer de 90+ años con disnea.
es | Domicilio: Calle de Alcalá 45, 28014 Madrid | Domicilio: [ADDRESS1]
de | Telefonisch mit Herrn Dr. med. Müller besprochen. | Telefonisch mit Herrn Dr. med. [NAME1] besprochen.
de | Frau Schneider klagt über Husten. | Frau [NAME1] klagt über Husten.
de | Befundet von: Prof. Dr. Karl-Heinz Groß | Befundet von: Prof. Dr. [NAME1]
de | Patient: Weiß, Jürgen | Patient: [NAME1]
de | gez. Dr. A. von der Heide | gez. Dr. [NAME1]
de | Rücksprache mit OÄ Dr. Özdemir erfolgt. | Rücksprache mit OÄ Dr. [NAME1] erfolgt.
de | Voraufnahme vom 12.03.2021. | Voraufnahme vom [DATE1].
de | Voraufnahme vom 25.03.21 liegt vor. | Voraufnahme vom [DATE1] liegt vor.
de | CT vom 3. März 2021. | CT vom [DATE1].
de | Aufnahme vom 5.4. liegt vor. | Aufnahme vom [DATE1] liegt vor.
de | OP im Jahr 2016. | OP im Jahr [DATE1].
de | Seit Oktober 2018 bekannt. | Seit [DATE1] bekannt.
de | Herr Oberarzt Dr. Klein wurde informiert. | Herr Oberarzt Dr. [NAME1] wurde informiert.
de | Z. n. Pneumonie 06/2022. | Z. n. Pneumonie [DATE1].
de | Fallnummer: 1200345 | Fallnummer: [ID1]
de | Pat.-Nr. 88123 | Pat.-Nr. [ID1]
de | Auftragsnr.: RD-44121 | Auftragsnr.: [ID1]
de | Versichertennummer A123456789 | Versichertennummer [ID1]
de | Tel. 0711/123456 | Tel. [PHONE1]
de | Durchwahl: 4711 | Durchwahl: [PHONE1]
de | 92-jährige Patientin. | 90+-jährige Patientin.
de | Wohnhaft Goethestraße 12, 70173 Stuttgart | Wohnhaft [ADDRESS1]
fr | Avis demandé au Dr Lefèvre ce jour. | Avis demandé au Dr [NAME1] ce jour.
fr | M. Dupont présente une toux. | M. [NAME1] présente une toux.
fr | Mme DURAND-MARTIN a été informée. | Mme [NAME1] a été informée.
fr | Signé par : Docteur Hélène Petit | Signé par : Docteur [NAME1]
fr | Nom et prénom : Moreau, Chloé | Nom et prénom : [NAME1]
fr | Médecin prescripteur : Dr Jean de La Tour | Médecin prescripteur : Dr [NAME1]
fr | Comparé au cliché du 12/03/2021. | Comparé au cliché du [DATE1].
fr | Scanner du 1er mars 2021. | Scanner du [DATE1].
fr | Radiographie de février 2019. | Radiographie de [DATE1].
fr | Opéré en 2014. | Opéré en [DATE1].
fr | N° dossier : 778120 | N° dossier : [ID1]
fr | Dossier n° 2021-4432 | Dossier n° [ID1]
fr | IPP : 8001234567 | IPP : [ID1]
fr | Numéro de sécurité sociale 2840375123456 | Numéro de sécurité sociale [ID1]
fr | Tél. 01 44 55 66 77 | Tél. [PHONE1]
fr | Joindre au 06.12.34.56.78 au besoin. | Joindre au [PHONE1] au besoin.
fr | Patiente de 95 ans. | Patiente de 90+ ans.
fr | Domicile : 12 bis rue de la République, 69002 Lyon | Domicile : [ADDRESS1]
zh | 姓名：张伟 性别：男 | 姓名：[NAME1] 性别：男
zh | 报告医师：李秀英 审核医师：王芳 | 报告医师：[NAME1] 审核医师：[NAME2]
zh | 已电话告知陈医生。 | 已电话告知[NAME1]医生。
zh | 请李主任医师会诊。 | 请[NAME1]主任医师会诊。
zh | 患者刘洋，男，56岁。 | 患者[NAME1]，男，56岁。
zh | 检查日期：2021年3月12日 | 检查日期：[DATE1]
zh | 与2020-11-05片比较。 | 与[DATE1]片比较。
zh | 2018年行手术治疗。 | [DATE1]行手术治疗。
zh | 3月5日胸片示肺炎。 | [DATE1]胸片示肺炎。
zh | 病历号：0045821 | 病历号：[ID1]
zh | 住院号 ZY20213344 | 住院号 [ID1]
zh | 身份证号：11010519491231002X | 身份证号：[ID1]
zh | 联系电话：010-62345678 | 联系电话：[PHONE1]
zh | 手机13812345678。 | 手机[PHONE1]。
zh | 患者93岁。 | 患者90+岁。
zh | 住址：北京市海淀区中关村大街1号 | 住址：[ADDRESS1]
"""
LOOKALIKES = """
es | Historia clínica: tos de 3 semanas.
es | Paciente: Varón de 60 años.
es | Nódulo de 12 mm en el LSD.
es | Fractura de D12 y L1, arcos 5 y 6.
es | Don derecho normal.
es | Hernia de Morgagni, líneas de Kerley.
es | Mujer de 89 años.
es | Control en 3 meses.
es | Índice cardiotorácico 0,55.
de | Rundherd von 12 mm im linken Oberlappen.
de | Frau, 60 Jahre, Husten.
de | Kerley-B-Linien, Pancoast-Tumor.
de | Fraktur der 7. Rippe links.
de | Kontrolle in 6 Wochen.
de | Mobile Aufnahme im Liegen.
de | Thorax in 2 Ebenen vom Tage.
de | Der Herzschatten ist 1.5 cm breiter.
de | 85-jähriger Patient.
fr | Opacité de 12 mm du lobe supérieur droit.
fr | Patient : homme de 60 ans.
fr | Maladie de Hodgkin, lignes de Kerley.
fr | Fracture du 5e arc costal.
fr | Contrôle dans 3 mois.
fr | Marche normale, mars ou avril.
fr | Cliché de face et de profil.
fr | Mme et M. sont absents.
fr | Patiente de 88 ans.
zh | 右肺上叶见12mm结节。
zh | 患者男，56岁。
zh | 建议3个月后复查。
zh | 请结合临床，上级医师会诊。
zh | 高年资医师审核。
zh | 第5前肋骨折。
zh | 左侧胸腔积液约30mm。
zh | 主动脉弓部钙化。
en | Sr. view of Don Juan type is not said here, and the heart is normal.
en | The M. avium infection of the lung is seen with a 3.5 cm cavity.
"""
ROWS = [[part.strip() for part in line.split("|")] for line in TABLE.strip().splitlines()]
STAYING = [[part.strip() for part in line.split("|")] for line in LOOKALIKES.strip().splitlines()]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(("language", "text", "expected"), ROWS, ids=[row[1] for row in ROWS])
def test_identifiers_are_replaced(language: str, text: str, expected: str, known: bool) -> None:
    found = deidentify(text, language=language if known else None)
    assert found.text == expected
    assert deidentify(found.text, language=language).text == expected
    assert all(text[one.start : one.end] not in found.text for one in found.spans)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(("language", "text"), STAYING, ids=[row[1] for row in STAYING])
def test_lookalikes_stay(language: str, text: str, known: bool) -> None:
    assert deidentify(text, language=language if known else None).text == text


def test_the_same_name_and_day_get_the_same_placeholder() -> None:
    spanish = "Dra. García el 3 de marzo de 2021. García informa el 03/03/2021."
    assert deidentify(spanish, language="es").text == "Dra. [NAME1] el [DATE1]. [NAME1] informa el [DATE1]."
    german = "Frau Müller am 12.03.2021, Müller am 12. März 2021."
    assert deidentify(german, language="de").text == "Frau [NAME1] am [DATE1], [NAME1] am [DATE1]."
    french = "Patient : BERNARD Michel. Monsieur Bernard tousse."
    assert deidentify(french, language="fr").text == "Patient : [NAME1]. Monsieur [NAME1] tousse."
    chinese = "姓名：张伟，2021年3月12日。张伟于2021-03-12复查。"
    assert deidentify(chinese).text == "姓名：[NAME1]，[DATE1]。[NAME1]于[DATE1]复查。"


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("es", "El 05/04/2021 y el 6 de abril de 2021.", "El 2021-04-15 y el 2021-04-16."),
        ("de", "Vom 05.04.2021 und vom 6. April 2021.", "Vom 2021-04-15 und vom 2021-04-16."),
        ("fr", "Du 05/04/2021 et du 1er juillet 2021.", "Du 2021-04-15 et du 2021-07-11."),
        ("zh", "2021年4月5日及2021年4月6日。", "2021-04-15及2021-04-16。"),
        ("en", "On 05/04/2021 and May 5, 2021.", "On 2021-05-14 and 2021-05-15."),
    ],
)
def test_days_are_shifted_as_the_language_writes_them(language: str, text: str, expected: str) -> None:
    assert deidentify(text, shift_days=10, language=language).text == expected


@pytest.mark.parametrize("language", ["es", "de", "fr", "zh", "und"])
@pytest.mark.parametrize("text", ["Dr. " * 20_000, "1" * 100_000, "Calle " * 20_000, "王" * 50_000, "A " * 50_000])
def test_what_is_no_sentence_holds_no_identifier(language: str, text: str) -> None:
    assert all(one.kind in {"NAME", "ADDRESS"} for one in deidentify(text, language=language).spans)
