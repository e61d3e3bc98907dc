"""DICOM results as they are made, held against the programs and libraries others read them with."""
