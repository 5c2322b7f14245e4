"""From files of any form to documents, split once."""
