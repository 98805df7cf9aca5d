"""The making of the pocket models: pictures, losses, the loop, exams, cards (``make pocket``)."""
