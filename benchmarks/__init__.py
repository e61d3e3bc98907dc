"""How fast studies go out and results come in, beside other ways to do it; see README.md."""

__all__ = ["study_instance_uid"]


def study_instance_uid(number: int) -> str:
    """The StudyInstanceUID of a generated study, under pydicom's own root."""
    return f"1.2.826.0.1.3680043.8.498.1.{number}"
