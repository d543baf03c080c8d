"""What people send to the help desk."""

from dataclasses import dataclass, field


@dataclass
class Ticket:
    subject: str
    sender: str
    body: str = ""
    tags: set = field(default_factory=set)

    @property
    def host(self):
        return self.sender.rpartition("@")[2].lower()

    def mentions(self, word):
        word = word.lower()
        return word in self.subject.lower() or word in self.body.lower()
