"""DICOM results of every kind the API offers, made of the images that were sent.

Nothing here waits or keeps state: sources, a prediction and parameters go in, datasets come out.
Everything blocks; it runs in worker threads. `making` imports highdicom, which takes a second: it
is to be imported by who is about to make results.
"""
