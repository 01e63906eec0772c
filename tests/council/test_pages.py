"""The site's pages in a real browser."""

from tests.browser import Visitor
from tests.factories import MemberFactory, hashed


def test_a_member_signs_in_and_out_by_keyboard(visitor: Visitor) -> None:
    member = MemberFactory.create(password_hash=hashed("correct horse"), company="Acme")
    visitor.open("/membership/")
    visitor.inspect("sign-in")
    keyboard = visitor.page.keyboard

    def tab_to(name: str) -> None:
        for _ in range(20):
            if visitor.focused() == name:
                return
            keyboard.press("Tab")
        raise AssertionError(f"{name} cannot be reached")

    keyboard.press("Tab")
    assert visitor.focused() == "Skip to the content"
    tab_to("Email")
    keyboard.type(str(member.email))
    keyboard.press("Tab")
    keyboard.type("wrong")
    keyboard.press("Enter")
    visitor.page.get_by_role("alert").wait_for()
    assert visitor.page.title().startswith("Error: ")
    visitor.inspect("sign-in-wrong")
    tab_to("Password")
    keyboard.type("correct horse")
    keyboard.press("Enter")
    visitor.page.wait_for_url("**/membership/")
    visitor.inspect("membership")
    tab_to("Sign out")
    keyboard.press("Enter")
    visitor.page.get_by_text("You are signed out.").wait_for()
    visitor.inspect("signed-out")
