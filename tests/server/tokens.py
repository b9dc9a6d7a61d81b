# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
"""Public keys and tokens for the scenario of JSON Web Tokens. The keys that signed them were thrown away."""

from __future__ import annotations

import base64

SECRET = base64.b64encode(b"obvious test secret of thirty-two bytes").decode()
"""The secret that signed the tokens with HMAC, as CouchDB wants it."""

RSA = (
    r"-----BEGIN PUBLIC KEY-----\n"
    r"MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAxcqfNqs5z8X5HhFZ7Uxy\n"
    r"A9lIUmqATJ1EcPrBmvHy0pJtToLKqtv6fwsdDbxzA9dToR1DNymXAWoKJUvSeAtw\n"
    r"5ra9wQTmNcnaleyXR5AMb2USUuI42t9u6EEHX4+NnWHNoALU48unRWd24FixEpgL\n"
    r"o/0qoTzps+L+VdNoCkESYwYtksg6zWrzV5sOpjplFZlM/pnsOzumO2ux2T7Nec1v\n"
    r"jVjyyZKJHY9ZYujPL9tH1VUQ6zJHPjoNilaum+BqqVci4bt49LZgpSrwvUFH7/lJ\n"
    r"yd17xNIY5Ghmq9IipROIWLHDjIbxFgeQK/yvADP9HogNmjQN3QEkJvPANQjmUHSz\n"
    r"kwIDAQAB\n"
    r"-----END PUBLIC KEY-----\n"
)
"""The public key of the tokens signed with RSA; line ends are written as CouchDB keeps them."""

EC = (
    r"-----BEGIN PUBLIC KEY-----\n"
    r"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEk3I7GQn4sjgwOXf3YsUq8uV2C4vV\n"
    r"I6k5POa7um0DP+Ui/XeZQKukdgCEeCi8y92LxDVBZye5+RJmX6rUohK5PA==\n"
    r"-----END PUBLIC KEY-----\n"
)
"""The public key of the tokens signed with ECDSA."""

TOKENS = {
    "hmac": (
        "eyJhbGciOiJIUzI1NiIsImtpZCI6ImgiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJhbm5hIiwiZXhwIjo0MTAyNDQ0ODAwLCJfY291Y"
        "2hkYi5yb2xlcyI6WyJyIl19.mhBNowD78N1ZBQ-Z5zccjIfmfXWy4JGnAhPtLS_ZrlM"
    ),
    "hmac default": (
        "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm5hIiwiZXhwIjo0MTAyNDQ0ODAwLCJfY291Y2hkYi5yb2xlcyI"
        "6WyJyIl19.68hmO8WiNBulN9NtnAkMXwH9H5v0X4sagUMuNI5df2wpj5Kb-FVEwFGj5FCzo4wKzvTZJjiFp2De5-ZTGkhrcQ"
    ),
    "rsa": (
        "eyJhbGciOiJSUzI1NiIsImtpZCI6InIiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJhbm5hIiwiZXhwIjo0MTAyNDQ0ODAwLCJfY291Y"
        "2hkYi5yb2xlcyI6WyJyIl19.RNNniXIM53H8lcP-EpLBDTXMIbAFuyFW0U8l9expK3_bGKhCSft7NwTjCJX-SoGTrzShlxQzbAYJ"
        "EXsFZCmaRIyNsTNt_Zbqtz0XJYa77RzZdUhE5RTGolR9KRxu49wBKtWd62boXB8Nt_sB8nTAHh4guOjQACNq2mIIbodheZlA9vrq"
        "cqJ9yzFQRTcG0lTs0ZG_6yVkLU6r4RdVxZX9z7Ck8o63ub0l1_TjYtVg8cTYyBdefRFTvN93adXJ4PR367wVKaLNpea33F1XvZRX"
        "DfRDl_UQ8oOAIfd_4d-4t8IE3llTLgyXSIVTPYgG9lhL7JfKlOQVTVFltD81lDzBsA"
    ),
    "ec": (
        "eyJhbGciOiJFUzI1NiIsImtpZCI6ImUiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJhbm5hIiwiZXhwIjo0MTAyNDQ0ODAwLCJfY291Y"
        "2hkYi5yb2xlcyI6WyJyIl19.Wdnx-RUVXDrYQpNpfauPlgGZ0S1GJdY-RVTrCmABOHZMabgvhCUyiBx1Aw6erYpF6mTnfxKDpmvV"
        "HpwGYDYjoQ"
    ),
    "unknown": (
        "eyJhbGciOiJIUzI1NiIsImtpZCI6Im5vYm9keSIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm5hIiwiZXhwIjo0MTAyNDQ0ODAwLCJ"
        "fY291Y2hkYi5yb2xlcyI6WyJyIl19.6OTwKnewTsiyA6gBwS_oIxB23qNaCRO-cZMItZsNs68"
    ),
    "expired": (
        "eyJhbGciOiJIUzI1NiIsImtpZCI6ImgiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJhbm5hIiwiZXhwIjoxLCJfY291Y2hkYi5yb2xlc"
        "yI6WyJyIl19.20zhOc6QRFppi21k6duLSmTxuwiE6jPQUf22hiAowFs"
    ),
    "no exp": (
        "eyJhbGciOiJIUzI1NiIsImtpZCI6ImgiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJhbm5hIn0.ya_L-GzJDYcddKA-atxVQzIZ9WaWL"
        "XQUorU6koHjVRQ"
    ),
    "no sub": (
        "eyJhbGciOiJIUzI1NiIsImtpZCI6ImgiLCJ0eXAiOiJKV1QifQ.eyJleHAiOjQxMDI0NDQ4MDB9.79gqvIZOFggDQ3Ah_Y1I5x8W"
        "CpIu6g3m_77kk3eWTSQ"
    ),
    "roles in a string": (
        "eyJhbGciOiJIUzI1NiIsImtpZCI6ImgiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJhbm5hIiwiZXhwIjo0MTAyNDQ0ODAwLCJfY291Y"
        "2hkYi5yb2xlcyI6InIsIHMifQ.HYvuR6WDfU-9uWKhrHDX6qQk-JN1ekxUAzIftbHvSJg"
    ),
    "roles of numbers": (
        "eyJhbGciOiJIUzI1NiIsImtpZCI6ImgiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJhbm5hIiwiZXhwIjo0MTAyNDQ0ODAwLCJfY291Y"
        "2hkYi5yb2xlcyI6WzFdfQ.MM4rpz9D9kZEU43wxSijY8hZqYQTCTdinZxj847CLNM"
    ),
    "roles elsewhere": (
        "eyJhbGciOiJIUzI1NiIsImtpZCI6ImgiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJhbm5hIiwiZXhwIjo0MTAyNDQ0ODAwLCJteSI6e"
        "yJyb2xlcy5vZiI6WyJkZWVwIl19fQ.UoBD7f_X7FaCiiXnq-WPRZ1Jqhe4Jnwm_7T9DfyhCc8"
    ),
    "admin": (
        "eyJhbGciOiJIUzI1NiIsImtpZCI6ImgiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJib3NzIiwiZXhwIjo0MTAyNDQ0ODAwLCJfY291Y"
        "2hkYi5yb2xlcyI6WyJfYWRtaW4iXX0.Zy4SHOcmCBXy7sjEFp8yTZqtBbztr61hjFjxqmDDAIo"
    ),
    "another secret": (
        "eyJhbGciOiJIUzI1NiIsImtpZCI6ImgiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJhbm5hIiwiZXhwIjo0MTAyNDQ0ODAwLCJfY291Y"
        "2hkYi5yb2xlcyI6WyJyIl19.m2EZT1gf3VVKsmz7vbBrKrm6O_nBG9i9yi8O8GypnuI"
    ),
    "rsa by ec": (
        "eyJhbGciOiJSUzI1NiIsImtpZCI6InIiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJhbm5hIiwiZXhwIjo0MTAyNDQ0ODAwLCJfY291Y"
        "2hkYi5yb2xlcyI6WyJyIl19.f-qMr23S25fQPHszoVftzH1E9ZD4LQEqykizJSpfdkd-CEWpns0WE6b4pHuB-2ym_JaJdM-f1inh"
        "mADfTlbgdBXD2SragYKFmhXzOkFIx9vMAwWTeFEFWkCpEZyRcfFsDsXPG9LC0yDdsroIFqOTbvc_MGO6fxNPYY1J3QwxpevNJjng"
        "4pwG4XMXHkWHatWnZeY8zQ4mV2jMmH3AXM6RThNQ9dy81X3GlVI3d3WRUywqMyLKNLKcxlIYJHIk5Pe3gJxtCnB620XCzzdS-1bG"
        "9SUzRR4VY4a28TrvrUunAZONdTRyptZa5MqP1FFIXo4P2SdYyLW1YlZffiP3mtSVSg"
    ),
    "none": "eyJhbGciOiJub25lIn0.eyJzdWIiOiAiYW5uYSIsICJleHAiOiA0MTAyNDQ0ODAwLCAiX2NvdWNoZGIucm9sZXMiOiBbInIiXX0.",
    "no token": "abc",
}
"""Tokens, by what is in them; they expire in the year 2100."""
