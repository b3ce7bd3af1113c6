"""Who works at the two insurers, who is insured, and what happens to them. All of it is made up."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, timedelta

PASSWORD = "policy-desk-demo"
TENANTS = {"northwind": "Northwind Mutual", "lakeside": "Lakeside Life"}


@dataclass(frozen=True)
class Person:
    """Somebody who logs in."""

    username: str
    first_name: str
    last_name: str
    tenant: str | None = None
    role: str = "handler"  # handler, lead, auditor or admin
    address: str = "10.20.0.10"
    user_agent: str = (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/141.0 Safari/537.36"
    )

    @property
    def email(self) -> str:
        """Their address at work."""
        return f"{self.username}@{self.tenant or 'policydesk'}.example"


_MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 15_1) AppleWebKit/605.1.15 Version/18.1 Safari/605.1.15"
_FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"
_PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Version/18.1 Mobile Safari"
)

ADMIN = Person("admin", "Morgan", "Reyes", role="admin", address="10.20.0.2", user_agent=_FIREFOX)
AUDITOR = Person("olivia", "Olivia", "Brandt", role="auditor", address="10.20.0.99", user_agent=_MAC)
STAFF = (
    Person("alice", "Alice", "Moreau", "northwind", "lead", "10.20.1.11", _MAC),
    Person("bob", "Bob", "Keller", "northwind", address="10.20.1.12"),
    Person("carol", "Carol", "Jensen", "northwind", address="10.20.1.13", user_agent=_FIREFOX),
    Person("daniel", "Daniel", "Okafor", "lakeside", "lead", "10.20.2.21"),
    Person("erin", "Erin", "Walsh", "lakeside", address="10.20.2.22", user_agent=_PHONE),
    Person("frank", "Frank", "Novák", "lakeside", address="10.20.2.23"),
)

RISK_CLASSES = (
    ("A1", "Private car", "1.000"),
    ("A2", "Sports car", "1.450"),
    ("H1", "Detached house", "1.000"),
    ("H2", "House in a flood zone", "1.900"),
    ("L1", "Non-smoker", "0.900"),
    ("L2", "Hazardous occupation", "1.600"),
)
TAGS = ("Critical", "Fleet", "Legacy", "Referral", "VIP", "Watch")
_NAMES = (
    "Jane Doe", "Zoë Müller", "Liam O’Brien", "Aiko Tanaka", "Mateo García", "Nadia Haddad", "Sven Lindqvist",
    "Priya Raman", "Tomasz Wiśniewski", "Chloé Dubois", "Ahmed El-Sayed", "Grace Kim", "Ivan Petrov",
    "Fatima Zahra", "Lucas Almeida",
    "Hannah Schmidt", "Kwame Mensah", "李小龙", "Elena Rossi", "Oscar Nilsen", "Ruth Goldberg",
    "Diego Fernández", "محمد الفاسي",
    "Sofia Papadopoulou", "Noah van der Berg", "Amara Okonkwo", "Felix Bauer", "Yuki Sato",
    "Isla MacLeod", "Omar Farouk",
    "Clara Svensson", "Peter Novotny", "Maria da Silva", "Jonas Weber", "Leila Moradi", "Ethan Clarke",
    "Anna Kowalska", "Ravi Patel",
    "Emma Thompson", "Karim Benali",
)  # fmt: skip
_STREETS = (
    "Harbor Street",
    "Mill Lane",
    "Station Road",
    "Chestnut Avenue",
    "Lakeview Drive",
    "Old Market",
    "Bridge Street",
)
_CITIES = ("Portland", "Duluth", "Madison", "Burlington", "Halifax", "Galway", "Bremen")
_LOSSES = (
    "The customer reports that a lorry touched the left side of the parked car during the night.",
    "Water ran from the upstairs bathroom through the ceiling of the kitchen and damaged the cupboards.",
    "The insured slipped on the icy steps of the office and broke a wrist.",
    "A storm tore some twenty tiles off the roof; the attic got wet before a roofer could cover it.",
    "Thieves forced the cellar door and took two bicycles and a set of tools.",
    "The windscreen was cracked by a stone on the motorway.",
)
_DETAILS = (
    "Photos were promised for the end of the week.",
    "The police have taken a report; its number will follow.",
    "A neighbor saw the accident and is willing to testify.",
    "The workshop estimates four days of repair and has asked for approval before it orders the parts.",
    "The customer asks for a call after five in the afternoon.",
    "According to the expert the damage by the door is older than reported, and not covered.",
    "The plumber’s invoice is higher than the estimate because the pipe was replaced as far as the meter.",
    "We agreed on the phone that the remaining value of the bicycle is set at 40 percent.",
)
_NOTES = (
    "The customer asked for quarterly payment.",
    "Discount for the second contract was granted by phone.",
    "The previous insurer confirmed five years without a claim.",
    "Valuables are listed in the letter of the spring; a photo of each is in the file.",
    "Renewal must be offered in writing six weeks before the end.",
)


def name(number: int) -> str:
    """The name of the customer with this number."""
    again = number // len(_NAMES)
    return _NAMES[number % len(_NAMES)] + (f" {'I' * (again + 1)}" if again else "")


def email(number: int) -> str:
    """Their email address."""
    return f"customer{number + 1}@mail.example"


def phone(rng: random.Random) -> str:
    """A number from the range kept free for fiction."""
    return f"+1 {rng.choice((207, 218, 608, 802))} 555 01{rng.randrange(100):02d}"


def ssn(rng: random.Random) -> str:
    """A number that was never given to anybody: area numbers from 900 on are not used."""
    return f"9{rng.randrange(100):02d}-{rng.randrange(10, 69)}-{rng.randrange(1000, 9999)}"


def birth_date(rng: random.Random) -> str:
    """Between 20 and 70 years ago, roughly."""
    return (date(1955, 1, 1) + timedelta(days=rng.randrange(18_000))).isoformat()


def address(rng: random.Random) -> str:
    """A street and a number."""
    return f"{rng.randrange(1, 180)} {rng.choice(_STREETS)}"


def city(rng: random.Random) -> str:
    """A city."""
    return rng.choice(_CITIES)


def loss(rng: random.Random) -> str:
    """What a claim says when it is opened."""
    return " ".join([rng.choice(_LOSSES), *rng.sample(_DETAILS, 2)])


def longer(rng: random.Random, text: str) -> str:
    """The text of a claim after somebody has worked on it: a sentence fewer here, some more there."""
    sentences = text.replace("\r\n", " ").split(". ")
    if len(sentences) > 4:
        sentences.pop(rng.randrange(1, len(sentences) - 1))
    added = [detail for detail in rng.sample(_DETAILS, 3) if detail.rstrip(".") not in text][:2]
    return f"{'. '.join(sentences).rstrip('.')}. {' '.join(added)}".strip()


def note(rng: random.Random) -> str:
    """A remark about a policy."""
    return rng.choice(_NOTES)
