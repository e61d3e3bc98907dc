"""The page's own words, in the six languages of the API."""

from __future__ import annotations

__all__ = ["LANGUAGES", "words_in"]

LANGUAGES = ("en", "fr", "es", "de", "it", "pt")

# In the order of LANGUAGES. `{…}` is filled in by the page.
_WORDS = {
    "title": (
        "Results of the studies",
        "Résultats des examens",
        "Resultados de los estudios",
        "Ergebnisse der Studien",
        "Risultati degli studi",
        "Resultados dos exames",
    ),
    "notice": (
        "This page holds patient data. It shows what an algorithm answered and is no diagnosis.",
        (
            "Cette page contient des données de patients. Elle montre la réponse d'un algorithme et"
            " n'est pas un diagnostic."
        ),
        (
            "Esta página contiene datos de pacientes. Muestra la respuesta de un algoritmo y no es"
            " un diagnóstico."
        ),
        (
            "Diese Seite enthält Patientendaten. Sie zeigt die Antwort eines Algorithmus und ist"
            " keine Diagnose."
        ),
        (
            "Questa pagina contiene dati di pazienti. Mostra la risposta di un algoritmo e non è"
            " una diagnosi."
        ),
        (
            "Esta página contém dados de doentes. Mostra a resposta de um algoritmo e não é um"
            " diagnóstico."
        ),
    ),
    "no_script": (
        "The table of studies needs JavaScript.",
        "La table des examens a besoin de JavaScript.",
        "La tabla de estudios necesita JavaScript.",
        "Die Tabelle der Studien braucht JavaScript.",
        "La tabella degli studi richiede JavaScript.",
        "A tabela de exames precisa de JavaScript.",
    ),
    "overview": ("Overview", "Vue d'ensemble", "Resumen", "Übersicht", "Panoramica", "Resumo"),
    "outcomes": ("Outcomes", "Issues", "Desenlaces", "Ausgänge", "Esiti", "Desfechos"),
    "flags": ("Flags", "Alertes", "Alertas", "Einstufungen", "Segnalazioni", "Alertas"),
    "timings": ("Timings", "Durées", "Duraciones", "Dauer", "Durate", "Durações"),
    "upload": ("Upload", "Envoi", "Envío", "Senden", "Invio", "Envio"),
    "predict": ("Prediction", "Prédiction", "Predicción", "Vorhersage", "Predizione", "Predição"),
    "collect": (
        "Collection",
        "Récupération",
        "Recogida",
        "Abholen",
        "Raccolta",
        "Recolha",
    ),
    "median": ("median", "médiane", "mediana", "Median", "mediana", "mediana"),
    "p95": (
        "95th percentile",
        "95e centile",
        "percentil 95",
        "95. Perzentil",
        "95º percentile",
        "percentil 95",
    ),
    "or_more": ("or more", "ou plus", "o más", "oder mehr", "o più", "ou mais"),
    "no_timings": (
        "No timings",
        "Aucune durée",
        "Sin duraciones",
        "Keine Zeiten",
        "Nessuna durata",
        "Sem durações",
    ),
    "studies": ("Studies", "Examens", "Estudios", "Studien", "Studi", "Exames"),
    "search": ("Search", "Rechercher", "Buscar", "Suchen", "Cerca", "Procurar"),
    "sort_by": ("Sort by", "Trier par", "Ordenar por", "Ordnen nach", "Ordina per", "Ordenar por"),
    "shown": (
        "{shown} of {total} studies",
        "{shown} examens sur {total}",
        "{shown} de {total} estudios",
        "{shown} von {total} Studien",
        "{shown} studi su {total}",
        "{shown} de {total} exames",
    ),
    "more": (
        "Show more rows",
        "Afficher plus de lignes",
        "Mostrar más filas",
        "Mehr Zeilen zeigen",
        "Mostra altre righe",
        "Mostrar mais linhas",
    ),
    "none_found": (
        "No study matches.",
        "Aucun examen ne correspond.",
        "Ningún estudio coincide.",
        "Keine Studie passt.",
        "Nessuno studio corrisponde.",
        "Nenhum exame corresponde.",
    ),
    "study": ("Study", "Examen", "Estudio", "Studie", "Studio", "Exame"),
    "unknown_study": (
        "This page has no study {uid}.",
        "Cette page n'a pas d'examen {uid}.",
        "Esta página no tiene el estudio {uid}.",
        "Diese Seite hat keine Studie {uid}.",
        "Questa pagina non ha lo studio {uid}.",
        "Esta página não tem o exame {uid}.",
    ),
    "flag": ("Flag", "Alerte", "Alerta", "Einstufung", "Segnalazione", "Alerta"),
    "outcome": ("Outcome", "Issue", "Desenlace", "Ausgang", "Esito", "Desfecho"),
    "findings": ("Findings", "Constats", "Hallazgos", "Befunde", "Reperti", "Achados"),
    "instances": ("Images", "Images", "Imágenes", "Bilder", "Immagini", "Imagens"),
    "megabytes": ("MB", "Mo", "MB", "MB", "MB", "MB"),
    "seconds": ("Seconds", "Secondes", "Segundos", "Sekunden", "Secondi", "Segundos"),
    "error": ("Error", "Erreur", "Error", "Fehler", "Errore", "Erro"),
    "attempts": ("Attempts", "Tentatives", "Intentos", "Versuche", "Tentativi", "Tentativas"),
    "score": ("Score", "Score", "Puntuación", "Score", "Punteggio", "Pontuação"),
    "finding": ("Finding", "Constat", "Hallazgo", "Befund", "Reperto", "Achado"),
    "label": ("Result", "Résultat", "Resultado", "Ergebnis", "Risultato", "Resultado"),
    "measure": ("Measure", "Mesure", "Medida", "Messung", "Misura", "Medida"),
    "value": ("Value", "Valeur", "Valor", "Wert", "Valore", "Valor"),
    "body_parts": (
        "Body parts",
        "Régions anatomiques",
        "Regiones anatómicas",
        "Körperregionen",
        "Regioni anatomiche",
        "Regiões anatómicas",
    ),
    "report": ("Report", "Compte rendu", "Informe", "Bericht", "Referto", "Relatório"),
    "image": (
        "Image {number}",
        "Image {number}",
        "Imagen {number}",
        "Bild {number}",
        "Immagine {number}",
        "Imagem {number}",
    ),
    "burned_in": (
        "The image that was sent is not at hand; this is the result, with its marks burned in.",
        "L'image envoyée n'est pas disponible ; voici le résultat, avec ses marques incrustées.",
        "La imagen enviada no está disponible; este es el resultado, con sus marcas grabadas.",
        "Das gesendete Bild liegt nicht vor; dies ist das Ergebnis mit eingezeichneten Marken.",
        "L'immagine inviata non è disponibile; questo è il risultato, con i segni impressi.",
        "A imagem enviada não está disponível; este é o resultado, com as marcas gravadas.",
    ),
    "no_picture": (
        "No picture can be shown of this image.",
        "Aucune vue de cette image ne peut être affichée.",
        "No se puede mostrar esta imagen.",
        "Dieses Bild kann nicht gezeigt werden.",
        "Questa immagine non può essere mostrata.",
        "Esta imagem não pode ser mostrada.",
    ),
    "left_out": (
        "{count} more images are not shown.",
        "{count} autres images ne sont pas affichées.",
        "{count} imágenes más no se muestran.",
        "{count} weitere Bilder werden nicht gezeigt.",
        "Altre {count} immagini non sono mostrate.",
        "Mais {count} imagens não são mostradas.",
    ),
    "unreadable": (
        "{file} cannot be read.",
        "{file} est illisible.",
        "{file} no se puede leer.",
        "{file} ist nicht lesbar.",
        "{file} non è leggibile.",
        "{file} não pode ser lido.",
    ),
    "not_rendered": (
        "This study could not be shown in full.",
        "Cet examen n'a pas pu être affiché en entier.",
        "Este estudio no se pudo mostrar por completo.",
        "Diese Studie ließ sich nicht vollständig zeigen.",
        "Questo studio non può essere mostrato per intero.",
        "Este exame não pôde ser mostrado por completo.",
    ),
    "nothing_found": (
        "No results",
        "Aucun résultat",
        "Sin resultados",
        "Keine Ergebnisse",
        "Nessun risultato",
        "Sem resultados",
    ),
    "show_marks": (
        "Show marks",
        "Afficher les marques",
        "Mostrar marcas",
        "Marken zeigen",
        "Mostra i segni",
        "Mostrar marcas",
    ),
    "previous": ("Previous", "Précédent", "Anterior", "Vorige", "Precedente", "Anterior"),
    "next": ("Next", "Suivant", "Siguiente", "Nächste", "Successivo", "Seguinte"),
    "close": ("Close", "Fermer", "Cerrar", "Schließen", "Chiudi", "Fechar"),
    # Outcomes of studies and commands, then labels; what is not here is shown as it came.
    "=done": ("done", "terminé", "terminado", "fertig", "concluso", "concluído"),
    "=empty": ("empty", "vide", "vacío", "leer", "vuoto", "vazio"),
    "=forbidden": ("forbidden", "interdit", "prohibido", "verboten", "vietato", "proibido"),
    "=error": ("error", "erreur", "error", "Fehler", "errore", "erro"),
    "=rejected": ("rejected", "refusé", "rechazado", "abgelehnt", "rifiutato", "recusado"),
    "=timed_out": (
        "timed out",
        "délai dépassé",
        "tiempo agotado",
        "Zeit abgelaufen",
        "tempo scaduto",
        "tempo esgotado",
    ),
    "=skipped": ("skipped", "omis", "omitido", "ausgelassen", "saltato", "omitido"),
    "=urgent": ("urgent", "urgent", "urgente", "dringend", "urgente", "urgente"),
    "=abnormal": ("abnormal", "anormal", "anormal", "auffällig", "anormale", "anormal"),
    "=doubt": ("doubt", "doute", "duda", "Zweifel", "dubbio", "dúvida"),
    "=normal": ("normal", "normal", "normal", "unauffällig", "normale", "normal"),
    "=unknown": ("unknown", "inconnu", "desconocido", "unbekannt", "sconosciuto", "desconhecido"),
    "=out_scope": (
        "out of scope",
        "hors champ",
        "fuera de alcance",
        "außerhalb",
        "fuori ambito",
        "fora de âmbito",
    ),
}


def words_in(language: str) -> dict[str, str]:
    """The page's words by their key; those of outcomes and labels have a key that begins with =.

    Args:
        language: One of `LANGUAGES`.
    """
    column = LANGUAGES.index(language)
    return {key: words[column] for key, words in _WORDS.items()}
