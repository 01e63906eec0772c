"""The members' pages of the benchmarks, for members, lapsed members, staff and strangers."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from benchmarks import definitions, review, submissions
from benchmarks.answers import BenchmarkSubmission
from benchmarks.definitions import Category
from benchmarks.fields import ChoiceField, TextField
from benchmarks.models import State
from council.accounts.models import Account
from council.models import Member
from tests.benchmarks.conftest import ANSWERS, add_figure, take_release
from tests.factories import AccountFactory, BenchmarkSubmissionFactory

pytestmark = pytest.mark.any_server

FillIn = Callable[..., dict[str, Any]]
ANSWER, RESULTS = "/benchmarks/compensation/answers/", "/benchmarks/compensation/"
INFRASTRUCTURE = "/benchmarks/infrastructure/answers/"


@pytest.fixture
def mias_browser(mia: Member) -> Client:
    browser = Client()
    browser.force_login(AccountFactory.create(member=mia))
    return browser


@pytest.fixture
def lars_browser(lars: Member) -> Client:
    browser = Client()
    browser.force_login(AccountFactory.create(member=lars))
    return browser


def submit(member: Member, category: Category = Category.COMPENSATION, **changes: Any) -> None:
    submissions.submit(member=member, category=category, answers={**ANSWERS[category], **changes})


# Submitting ----------------------------------------------------------------------------------------------------------


def test_a_member_sends_answers_as_people_write_them(
    mias_browser: Client, mia: Member, fill_in: FillIn
) -> None:
    page = mias_browser.get(INFRASTRUCTURE)
    sent = fill_in(
        page,
        cost_per_domain="$ 12.50",
        cost_per_inbox=" 3 ",
        data_enrichment_cost="1.5k",
        domain_vendor="other",
        domain_vendor_other=" Joe's\tDomains ",
    )
    done = mias_browser.post(INFRASTRUCTURE, sent, follow=True)

    assert done.redirect_chain == [("/benchmarks/", 302)]
    assert "received. They count from the next release on. You earned 50 points." in done.content.decode()
    assert BenchmarkSubmission.objects.get(member=mia).data == {
        "version": 1,
        "cost_per_domain": 12.5,
        "cost_per_inbox": 3,
        "data_enrichment_cost": 1500,
        "domain_vendor": "other",
        "domain_vendor_other": "Joe's Domains",
    }


@pytest.mark.parametrize("category", Category)
def test_a_form_is_prefilled_with_what_is_there_and_sends_it_back_unchanged(
    category: Category, mias_browser: Client, mia: Member, fill_in: FillIn
) -> None:
    everything = {
        field.name: field.choices[-1][0] if isinstance(field, ChoiceField)
        else "10 % of the first month" if isinstance(field, TextField)
        else field.plausible[1]  # type: ignore[attr-defined]
        for field in definitions.FIELDS[category]
    }  # fmt: skip
    submissions.submit(member=mia, category=category, answers=everything)
    stored = BenchmarkSubmission.objects.get().data

    address = f"/benchmarks/{category.value.lower()}/answers/"
    done = mias_browser.post(address, fill_in(mias_browser.get(address)), follow=True)
    assert "have not changed." in done.content.decode()
    assert BenchmarkSubmission.objects.get().data == stored


def test_errors_are_shown_at_their_fields_and_nothing_typed_is_lost(
    mias_browser: Client, fill_in: FillIn
) -> None:
    sent = fill_in(
        mias_browser.get(INFRASTRUCTURE),
        cost_per_domain="12 or 13",
        cost_per_inbox="5000",
        warmup_cost="<b>€5</b>",
        domain_vendor="porkbun",
        domain_vendor_other="Joe's",
        sending_platform="other",
        inbox_provider="azure",
    )
    page = mias_browser.post(INFRASTRUCTURE, sent)

    assert page.status_code == 200
    html = page.content.decode()
    assert "Your answers are not stored yet. Nothing that you typed was lost." in html
    faults = {name: str(found[0]) for name, found in page.context["form"].errors.items()}
    assert faults == {
        "cost_per_domain": "“12 or 13” is not a number. Write one number, such as 34.",
        "cost_per_inbox": "$5,000 is outside of the allowed range. Write a number from $0 to $1,000 a month.",
        "warmup_cost": "Write the amount in US dollars, such as 3,300.",
        "domain_vendor": "You chose Porkbun and wrote “Joe&#x27;s”. Choose Other, or delete the text.".replace(
            "&#x27;", "'"
        ),
        "sending_platform": "You chose Other. Write what it is.",
    }
    again = fill_in(page)
    for name, typed in sent.items():
        if name != "csrfmiddlewaretoken":
            assert again[name] in ([typed], typed), name
    for name in faults:
        assert f'aria-describedby="id_{name}' in html
        assert f'id="id_{name}_error"' in html
    assert not BenchmarkSubmission.objects.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cost_per_domain": ""}, "This answer is required"),
        ({"cost_per_domain": ["12", "13"]}, "This was sent twice. Send it once."),
        ({"domain_vendor": ["porkbun", "godaddy"]}, "This was sent twice."),
        ({"member": "x"}, "Infrastructure does not ask for member. Leave it out."),
        ({"version": "7"}, "does not ask for version"),
        ({"domain_vendor": "nonsense"}, "is not on the list"),
        ({"cost_per_domain": "1\x002"}, "Null characters are not allowed"),
        ({"cost_per_domain": "9" * 5000}, "This has 5000 characters"),
        ({"domain_vendor": "other", "domain_vendor_other": "x" * 121}, "This has 121 characters"),
        ({"domain_vendor": "other", "domain_vendor_other": "a\x00b"}, "Null characters are not allowed"),
        ({"shown": "soon"}, "This form is incomplete"),
        ({"shown": ""}, "This form is incomplete"),
        ({"shown": "-1"}, "This form is incomplete"),
        ({"shown": "99999999999"}, "This form is incomplete"),
        ({"shown": "7"}, "These answers were changed elsewhere since this page was opened"),
    ],
)
def test_bad_input_is_refused_with_a_message(
    changes: Any, message: str, mias_browser: Client, db: None
) -> None:
    sent = {"shown": "0", "cost_per_domain": "12", **changes}
    page = mias_browser.post(INFRASTRUCTURE, sent)
    assert page.status_code == 200
    assert message in page.content.decode()
    assert not BenchmarkSubmission.objects.exists()


def test_ten_megabytes_are_refused(mias_browser: Client) -> None:
    sent = {"shown": "0", "cost_per_domain": "1" * 10_000_000}
    assert mias_browser.post(INFRASTRUCTURE, sent).status_code == 400


def test_the_second_of_two_tabs_sees_the_change_and_may_send_again(
    mias_browser: Client, mia: Member, fill_in: FillIn
) -> None:
    first, second = mias_browser.get(INFRASTRUCTURE), mias_browser.get(INFRASTRUCTURE)
    mias_browser.post(INFRASTRUCTURE, fill_in(first, cost_per_domain="12"))
    page = mias_browser.post(INFRASTRUCTURE, fill_in(second, cost_per_domain="13"))
    assert "These answers were changed elsewhere" in page.content.decode()
    assert BenchmarkSubmission.objects.get().data["cost_per_domain"] == 12

    assert fill_in(page)["cost_per_domain"] == ["13"]
    mias_browser.post(INFRASTRUCTURE, fill_in(page))
    assert BenchmarkSubmission.objects.get().data["cost_per_domain"] == 13
    mia.refresh_from_db()
    assert mia.total_points == 50


def test_answers_from_the_gateway_can_be_sent_again(
    mias_browser: Client, mia: Member, fill_in: FillIn
) -> None:
    BenchmarkSubmissionFactory.create(
        member=mia,
        data={"cost_per_domain": "12.5", "domain_vendor": "Joe's", "odd": [1], "cost_per_inbox": "lots"},
    )
    page = mias_browser.get(INFRASTRUCTURE)
    sent = fill_in(page)
    assert (sent["cost_per_domain"], sent["domain_vendor"], sent["domain_vendor_other"]) == (
        ["12.5"], ["other"], ["Joe's"],
    )  # fmt: skip
    mias_browser.post(INFRASTRUCTURE, sent)
    assert BenchmarkSubmission.objects.get().data == {
        "version": 1, "cost_per_domain": 12.5, "domain_vendor": "other", "domain_vendor_other": "Joe's",
    }  # fmt: skip


def test_a_member_withdraws(mias_browser: Client, mia: Member) -> None:
    submit(mia)
    asked = mias_browser.get("/benchmarks/compensation/withdraw/")
    assert "You keep your points." in asked.content.decode()
    assert BenchmarkSubmission.objects.exists()
    done = mias_browser.post("/benchmarks/compensation/withdraw/", follow=True)
    assert "Your answers about pay were withdrawn." in done.content.decode()
    assert not BenchmarkSubmission.objects.exists()
    assert mias_browser.get("/benchmarks/compensation/withdraw/").status_code == 302
    assert mias_browser.post("/benchmarks/compensation/withdraw/").status_code == 302


def test_a_member_is_reminded_after_a_year_and_confirms_with_one_click(
    mias_browser: Client, mia: Member
) -> None:
    submit(mia)
    assert "Still right" not in mias_browser.get("/benchmarks/").content.decode()
    BenchmarkSubmission.objects.update(updated_at=datetime.now(UTC) - timedelta(days=366))
    assert "Still right" in mias_browser.get("/benchmarks/").content.decode()
    assert mias_browser.get("/benchmarks/compensation/confirm/").status_code == 302
    assert "Still right" in mias_browser.get("/benchmarks/").content.decode()
    done = mias_browser.post("/benchmarks/compensation/confirm/", follow=True).content.decode()
    assert "Thank you. We will ask about pay again in a year." in done
    assert "Still right" not in done


def test_a_member_reads_why_answers_were_rejected(mias_browser: Client, mia: Member, sam: Account) -> None:
    submit(mia)
    assert "did not accept" not in mias_browser.get("/benchmarks/").content.decode()
    [entry], _ = review.queue(state=State.RECEIVED)
    review.reject(numbers=[entry.number], reason="This is not a salary.", reviewer=sam)
    assert (
        "Staff did not accept your answers: This is not a salary."
        in mias_browser.get("/benchmarks/").content.decode()
    )
    assert "Your answers about pay were not accepted: This is not a salary." in (
        mias_browser.get("/points/history/").content.decode()
    )


def test_flagged_answers_get_the_same_page(
    mias_browser: Client, mia: Member, carl: Member, fill_in: FillIn
) -> None:
    def send(browser: Client, pay: str) -> str:
        page = browser.post(ANSWER, fill_in(browser.get(ANSWER), gtm_engineer_us=pay), follow=True)
        return re.sub(
            r'value="[A-Za-z0-9]{64}"|datetime="[^"]*"|Mia Meyer|Carl Cohen', "", page.content.decode()
        )

    carls_browser = Client()
    carls_browser.force_login(AccountFactory.create(member=carl))
    assert send(mias_browser, "120k") == send(carls_browser, "1.9m")


# Who may see what ----------------------------------------------------------------------------------------------------

PAGES = ["/benchmarks/", "/benchmarks/protection/", ANSWER, RESULTS]


def test_a_member_in_good_standing_sees_all_pages(mias_browser: Client) -> None:
    for page in PAGES:
        response = mias_browser.get(page)
        assert response.status_code == 200, page
        html = response.content.decode()
        assert "<style" not in html and " style=" not in html and "<script" not in html
        assert mias_browser.head(page).status_code == 200


def test_a_lapsed_member_sees_their_own_answers_and_what_is_missing(
    lars_browser: Client, lars: Member
) -> None:
    BenchmarkSubmissionFactory.create(member=lars)
    overview = lars_browser.get("/benchmarks/").content.decode()
    assert "Your membership has ended." in overview
    assert "/benchmarks/infrastructure/withdraw/" in overview
    assert "/benchmarks/infrastructure/answers/" not in overview
    for page in (ANSWER, RESULTS):
        assert lars_browser.get(page).status_code == 403
    assert lars_browser.post(INFRASTRUCTURE, {"cost_per_domain": "1", "shown": "1"}).status_code == 403
    assert lars_browser.post("/benchmarks/infrastructure/confirm/").status_code == 403
    assert lars_browser.post("/benchmarks/infrastructure/withdraw/").status_code == 302
    assert not BenchmarkSubmission.objects.exists()


def test_strangers_and_staff_see_nothing(client: Client, sams_browser: Client) -> None:
    for page in PAGES:
        assert client.get(page).headers["Location"] == f"/sign-in/?next={page}"
        assert sams_browser.get(page).status_code == 403


@pytest.mark.parametrize(
    "address",
    ["/benchmarks/salaries/", "/benchmarks/COMPENSATION/", "/benchmarks/compensation/x/", f"{RESULTS}?group=nonsense",
     f"{RESULTS}?group=annual_revenue_band", f"{RESULTS}?group=annual_revenue_band.circus", f"{RESULTS}?group=%00",
     f"{RESULTS}?group=pricing_model.retainer"],
)  # fmt: skip
def test_unknown_categories_and_groups_are_not_found(address: str, mias_browser: Client) -> None:
    assert mias_browser.get(address).status_code == 404


def test_other_methods_are_refused(mias_browser: Client) -> None:
    for page in ("/benchmarks/", RESULTS, "/benchmarks/protection/"):
        assert mias_browser.post(page).status_code == 405
    assert mias_browser.put(ANSWER).status_code == 405


def test_no_member_sees_another_s_answers(mias_browser: Client, carl: Member, mia: Member) -> None:
    submit(carl, gtm_engineer_us=123_457, sdr_bdr_us_commission="carls secret")
    for page in PAGES:
        html = mias_browser.get(page).content.decode()
        assert "123,457" not in html and "carls secret" not in html


# Results -------------------------------------------------------------------------------------------------------------


def test_before_the_first_release_there_are_no_figures(mias_browser: Client, db: None) -> None:
    html = mias_browser.get(RESULTS).content.decode()
    assert "There is no release yet." in html
    assert "<svg" not in html


def test_results_show_the_own_value_as_chart_table_and_text(mias_browser: Client, mia: Member) -> None:
    release = take_release()
    add_figure(
        release, Category.COMPENSATION, "gtm_engineer_us",
        p10=82_000, p25=100_000, p50=120_000, p75=150_000, p90=180_000, companies_at_least=30,
    )  # fmt: skip
    submit(mia, gtm_engineer_us=130_000)
    html = mias_browser.get(RESULTS).content.decode()

    assert 'Release of <time datetime="2026-10-01">1 October 2026</time>' in html
    assert "Between the median and the upper quartile: you have $130,000 a year." in html
    figures = re.findall(r'<tr[^>]*><th scope="row">([^<]*)</th><td class="number">([^<]*)</td></tr>', html)
    assert figures == [
        ("Lowest tenth, up to", "$82,000"), ("Lower quartile", "$100,000"), ("Median", "$120,000"),
        ("Upper quartile", "$150,000"), ("Highest tenth, from", "$180,000"), ("You", "$130,000"),
    ]  # fmt: skip
    assert "30+ companies. Fairly sure." in html
    for text in ("Median $120,000", "$100,000", "$150,000", "You $130,000"):
        assert re.search(rf"<text[^>]*>{re.escape(text)}</text>", html), text
    assert html.count("Not enough yet.") == len(definitions.number_fields(Category.COMPENSATION)) - 1
    assert "commission" not in html


def test_a_withheld_figure_says_not_enough_yet(mias_browser: Client, mia: Member) -> None:
    release = take_release()
    release.figures.create(
        category=Category.COMPENSATION, field="gtm_engineer_us", withheld_by="too_few", as_of=None
    )
    submit(mia, gtm_engineer_us=130_000)
    html = mias_browser.get(RESULTS).content.decode()
    assert "Not enough yet. Your answer: $130,000 a year." in html
    assert "<svg" not in html
    assert "too_few" not in html and "Fewer than" not in html


def test_a_carried_over_figure_has_its_own_date_and_changes_are_described(
    mias_browser: Client, db: None
) -> None:
    former = take_release(date(2026, 8, 1), gtm_engineer_us=(100_000, 120_000, 150_000),
                          account_manager=(60_000, 75_000, 90_000), copywriter_hourly=(20, 30, 40))  # fmt: skip
    newest = take_release(
        date(2026, 9, 1), account_manager=(60_000, 82_000, 90_000), copywriter_hourly=(20, 30, 43)
    )
    add_figure(newest, Category.COMPENSATION, "gtm_engineer_us", p25=100_000, p50=120_000, p75=150_000,
               as_of=former.cut_off.date())  # fmt: skip
    html = mias_browser.get(RESULTS).content.decode()
    assert "Figure of 1 September 2026. Not updated: too few companies changed." in html
    assert "The median went up from $75,000 to $82,000." in html
    assert "The median is unchanged." in html


def test_shares_of_choices_are_a_table_with_bars(mias_browser: Client, mia: Member) -> None:
    release = take_release()
    add_figure(release, Category.INFRASTRUCTURE, "domain_vendor", shares={"porkbun": 60, "godaddy": 30})
    submit(mia, Category.INFRASTRUCTURE, domain_vendor="dynadot")
    html = mias_browser.get("/benchmarks/infrastructure/").content.decode()
    assert "about 60 %" in html and '<rect width="60" height="6"></rect>' in html
    assert 'Dynadot <span class="badge good">You</span></th><td class="number">few' in html
    assert "Cloudflare" not in html


def test_the_own_group_is_offered_first_and_joined_groups_are_named(
    mias_browser: Client, mia: Member
) -> None:
    release = take_release(gtm_engineer_us=(100_000, 120_000, 150_000))
    add_figure(release, Category.COMPENSATION, "gtm_engineer_us", dimension="annual_revenue_band",
               bands=["250k_500k", "500k_1m"], p25=91_000, p50=110_000, p75=130_000)  # fmt: skip
    submit(mia, Category.BUSINESS, agency_type="full_service")
    options = re.findall(
        r"<option value=\"([^\"]*)\"( selected)?>([^<]*)", mias_browser.get(RESULTS).content.decode()
    )
    assert options[:3] == [
        ("", " selected", "All companies"),
        ("annual_revenue_band.500k_1m", "", "$500,000 to $1 million (your group)"),
        ("agency_type.full_service", "", "Full service (your group)"),
    ]
    html = mias_browser.get(RESULTS, {"group": "annual_revenue_band.500k_1m"}).content.decode()
    assert "$250,000 to $500,000, $500,000 to $1 million. 10+ companies." in html
    assert "Median $110,000" in html
    other = mias_browser.get(RESULTS, {"group": "annual_revenue_band.sub_100k"}).content.decode()
    assert "<svg" not in other


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (99, "Below the lower quartile"), (100, "At the lower quartile"),
        (110, "Between the lower quartile and the median"),
        (120, "At the median"), (150, "At the upper quartile"), (151, "Above the upper quartile"),
    ],
)  # fmt: skip
def test_the_position_in_the_band_is_described(
    own: int, words: str, mias_browser: Client, mia: Member
) -> None:
    take_release(gtm_engineer_us=(100_000, 120_000, 150_000))
    submit(mia, gtm_engineer_us=own * 1000)
    assert f"{words}: you have" in mias_browser.get(RESULTS).content.decode()


def test_the_results_take_the_same_few_queries_for_every_member(
    mias_browser: Client, mia: Member, django_assert_max_num_queries: Any
) -> None:
    take_release(date(2026, 8, 1), gtm_engineer_us=(100_000, 120_000, 150_000))
    take_release(gtm_engineer_us=(100_000, 120_000, 150_000))
    for category in Category:
        submit(mia, category)
    with django_assert_max_num_queries(8):
        mias_browser.get(RESULTS)
