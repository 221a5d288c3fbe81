"""What was seeded is what the truth says."""

import io
import zipfile
from random import Random

import docx
import olefile
import openpyxl
import pptx
import pypdfium2
import pytest

from sandbox import planted
from sandbox.aws.tenant import AwsTenant
from sandbox.aws.truth import Organization
from sandbox.documents import FORMATS, Document, bomb, document, encrypted_word


def words(item: Document) -> str:
    """The text of a document, read by the libraries that own its format."""
    source = io.BytesIO(item.content)
    match item.name.rpartition(".")[2]:
        case "docx":
            read = docx.Document(source)
            cells = [cell.text for table in read.tables for row in table.rows for cell in row.cells]
            return "\n".join([*(p.text for p in read.paragraphs), *cells])
        case "xlsx":
            book = openpyxl.load_workbook(source)
            return "\n".join(
                str(c) for sheet in book for row in sheet.iter_rows(values_only=True) for c in row
            )
        case "pptx":
            deck = pptx.Presentation(source)
            return "\n".join(
                s.text_frame.text for slide in deck.slides for s in slide.shapes if s.has_text_frame
            )
        case "pdf":
            pages = pypdfium2.PdfDocument(item.content)
            return "\n".join(page.get_textpage().get_text_range() for page in pages).replace("\r\n", "\n")
        case "zip":
            with zipfile.ZipFile(source) as held:
                return "\n".join(held.read(name).decode() for name in held.namelist())
        case _:
            return item.content.decode()


@pytest.mark.parametrize("form", FORMATS)
def test_documents_hold_what_was_planted(form: str) -> None:
    """Every kind of value, in every format, can be read back; a clean one holds none."""
    made = document("a", form, Random(5), planted.KINDS)
    found = words(made)
    missing = [item for item in made.planted if item.value not in found]
    assert [item.kind for item in made.planted] == list(planted.KINDS)
    assert not missing
    assert not document("b", form, Random(5)).sensitive


async def test_the_bucket_holds_the_documents(tenant: AwsTenant, truth: Organization) -> None:
    """Each object's bytes are the document's, with its media type."""
    own = truth.member
    async with tenant.client("s3", own.key_pair) as s3:
        for (bucket, key), item in own.documents.items():
            answer = await s3.get_object(Bucket=bucket, Key=key)
            assert await answer["Body"].read() == item.content
            assert answer["ContentType"] == item.media
    assert sum(item.sensitive for item in own.documents.values()) == 9


def test_values_are_valid_and_checks_tell() -> None:
    """The published examples pass the checks, and so does every value made; one digit off does not."""
    assert all(planted.luhn(card) for card in planted.TEST_CARDS)
    assert all(planted.mod97(iban) for iban in planted.EXAMPLE_IBANS)
    chance = Random(3)
    for _ in range(200):
        card = planted.plant("card", chance).value
        assert planted.luhn(card)
        assert not planted.luhn(card[:-1] + str((int(card[-1]) + 1) % 10))
        assert planted.mod97(planted.plant("iban", chance).value)
    assert len(planted.plant("github_token", chance).value) == 40
    assert repr(planted.plant("ssn", chance)) == "Planted(ssn)"


def test_hostile_documents() -> None:
    """An encrypted docx is a compound file with its two streams; the bomb unpacks to over 1 GiB."""
    held = olefile.OleFileIO(io.BytesIO(encrypted_word()))
    assert sorted(held.listdir()) == [["EncryptedPackage"], ["EncryptionInfo"]]
    held.close()
    with zipfile.ZipFile(io.BytesIO(bomb())) as outer:
        inner = zipfile.ZipFile(io.BytesIO(outer.read(outer.namelist()[0])))
        size = len(outer.namelist()) * inner.infolist()[0].file_size
    assert len(bomb()) < 200_000
    assert size > 1 << 30


async def test_people_are_as_told(tenant: AwsTenant, truth: Organization) -> None:
    """Passwords, second factors, keys and groups, by the calls that a connector makes."""
    own = truth.management
    async with tenant.client("iam", own.key_pair) as iam:
        for user in own.users.values():
            assert bool((await iam.list_mfa_devices(UserName=user.name))["MFADevices"]) is user.mfa
            keys = (await iam.list_access_keys(UserName=user.name))["AccessKeyMetadata"]
            assert {k["AccessKeyId"]: k["Status"] for k in keys} == user.keys
            groups = (await iam.list_groups_for_user(UserName=user.name))["Groups"]
            assert tuple(g["GroupName"] for g in groups) == user.groups
            try:
                await iam.get_login_profile(UserName=user.name)
                console = True
            except iam.exceptions.NoSuchEntityException:
                console = False
            assert console is user.console
            assert user.id.startswith("AIDA")


async def test_sharing_is_as_told(tenant: AwsTenant, truth: Organization) -> None:
    """One object is public by its ACL, one bucket by its policy, the quarantine is closed."""
    own = truth.management
    async with tenant.client("s3", own.key_pair) as s3:
        grants = (await s3.get_object_acl(Bucket=own.public_objects[0][0], Key=own.public_objects[0][1]))[
            "Grants"
        ]
        status = await s3.get_bucket_policy_status(Bucket=own.buckets.public_policy)
        block = await s3.get_public_access_block(Bucket=own.buckets.quarantine)
    assert any(g["Grantee"].get("URI", "").endswith("global/AllUsers") for g in grants)
    assert status["PolicyStatus"]["IsPublic"] is True
    assert all(block["PublicAccessBlockConfiguration"].values())
