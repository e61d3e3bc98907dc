"""The words of simulated predictions, in the six languages of the API."""

from __future__ import annotations

from milvue_async.protocol.models import TranslationSchema

__all__ = [
    "ABNORMAL",
    "ANGLES",
    "BODY_PARTS",
    "DOUBT",
    "FINDINGS",
    "LENGTHS",
    "NORMAL",
    "NO_RESULT",
    "SIMULATED",
    "TECHNIQUE",
    "TITLE",
]

_LANGUAGES = ("en", "fr", "es", "de", "it", "pt")


def _words(*words: str) -> TranslationSchema:
    """The words in the order of `_LANGUAGES`."""
    return TranslationSchema(**dict(zip(_LANGUAGES, words, strict=True)))


FINDINGS = {
    "fracture": _words("Fracture", "Fracture", "Fractura", "Fraktur", "Frattura", "Fratura"),
    "dislocation": _words(
        "Dislocation", "Luxation", "Luxación", "Luxation", "Lussazione", "Luxação"
    ),
    "joint_effusion": _words(
        "Joint effusion",
        "Épanchement articulaire",
        "Derrame articular",
        "Gelenkerguss",
        "Versamento articolare",
        "Derrame articular",
    ),
    "pleural_effusion": _words(
        "Pleural effusion",
        "Épanchement pleural",
        "Derrame pleural",
        "Pleuraerguss",
        "Versamento pleurico",
        "Derrame pleural",
    ),
    "pneumothorax": _words(
        "Pneumothorax", "Pneumothorax", "Neumotórax", "Pneumothorax", "Pneumotorace", "Pneumotórax"
    ),
}

BODY_PARTS = {
    "hand": _words("Hand", "Main", "Mano", "Hand", "Mano", "Mão"),
    "wrist": _words("Wrist", "Poignet", "Muñeca", "Handgelenk", "Polso", "Punho"),
    "elbow": _words("Elbow", "Coude", "Codo", "Ellenbogen", "Gomito", "Cotovelo"),
    "shoulder": _words("Shoulder", "Épaule", "Hombro", "Schulter", "Spalla", "Ombro"),
    "foot": _words("Foot", "Pied", "Pie", "Fuß", "Piede", "Pé"),
    "knee": _words("Knee", "Genou", "Rodilla", "Knie", "Ginocchio", "Joelho"),
    "pelvis": _words("Pelvis", "Bassin", "Pelvis", "Becken", "Bacino", "Bacia"),
    "chest": _words("Chest", "Thorax", "Tórax", "Thorax", "Torace", "Tórax"),
}

ANGLES = {
    "hallux_valgus_angle": _words(
        "Hallux valgus angle",
        "Angle d'hallux valgus",
        "Ángulo de hallux valgus",
        "Hallux-valgus-Winkel",
        "Angolo dell'alluce valgo",
        "Ângulo do hálux valgo",
    ),
    "femorotibial_angle": _words(
        "Femorotibial angle",
        "Angle fémoro-tibial",
        "Ángulo femorotibial",
        "Femorotibialer Winkel",
        "Angolo femoro-tibiale",
        "Ângulo femorotibial",
    ),
    "cobb_angle": _words(
        "Cobb angle",
        "Angle de Cobb",
        "Ángulo de Cobb",
        "Cobb-Winkel",
        "Angolo di Cobb",
        "Ângulo de Cobb",
    ),
}

LENGTHS = {
    "leg_length": _words(
        "Leg length",
        "Longueur du membre inférieur",
        "Longitud de la pierna",
        "Beinlänge",
        "Lunghezza dell'arto inferiore",
        "Comprimento da perna",
    ),
    "femur_length": _words(
        "Femur length",
        "Longueur du fémur",
        "Longitud del fémur",
        "Femurlänge",
        "Lunghezza del femore",
        "Comprimento do fêmur",
    ),
}

ABNORMAL = _words("Abnormal", "Anormal", "Anormal", "Auffällig", "Anormale", "Anormal")
DOUBT = _words("Doubt", "Doute", "Duda", "Zweifel", "Dubbio", "Dúvida")
NORMAL = _words("Normal", "Normal", "Normal", "Unauffällig", "Normale", "Normal")
NO_RESULT = _words(
    "No result",
    "Aucun résultat",
    "Sin resultado",
    "Kein Ergebnis",
    "Nessun risultato",
    "Sem resultado",
)
SIMULATED = _words(
    "Simulated - not for diagnostic use",
    "Simulé - ne pas utiliser pour un diagnostic",
    "Simulado - no apto para el diagnóstico",
    "Simuliert - nicht für die Diagnose",
    "Simulato - non per uso diagnostico",
    "Simulado - não usar para diagnóstico",
)
TITLE = _words(
    "Simulated report",
    "Compte rendu simulé",
    "Informe simulado",
    "Simulierter Befund",
    "Referto simulato",
    "Relatório simulado",
)
TECHNIQUE = _words(
    "{count} image(s)",
    "{count} image(s)",
    "{count} imagen(es)",
    "{count} Bild(er)",
    "{count} immagine/i",
    "{count} imagem(ns)",
)
