"""The page at ``/``, on which people drop photos and read their captions.

It is plain HTML, CSS and JavaScript in `static`, served as it is: nothing is built, nothing comes
from elsewhere, and the browser stores nothing.
"""
