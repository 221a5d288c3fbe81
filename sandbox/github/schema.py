"""The types and fields of the graph that are known here: a line for each type, `field:Type` for objects.

Source: GitHub's public GraphQL schema (schema.docs-enterprise.graphql), of which this is a part.
"""

_TEXT = """
Query organization:Organization enterprise:Enterprise rateLimit:RateLimit viewer:User user:User
RateLimit cost limit nodeCount remaining resetAt used
Organization id databaseId login name url
Organization samlIdentityProvider:OrganizationIdentityProvider membersWithRole:OrganizationMemberConnection
Enterprise id databaseId slug name ownerInfo:EnterpriseOwnerInfo
EnterpriseOwnerInfo samlIdentityProvider:EnterpriseIdentityProvider
OrganizationIdentityProvider id ssoUrl issuer externalIdentities:ExternalIdentityConnection
EnterpriseIdentityProvider id ssoUrl issuer externalIdentities:ExternalIdentityConnection
ExternalIdentityConnection totalCount pageInfo:PageInfo nodes:ExternalIdentity edges:ExternalIdentityEdge
ExternalIdentityEdge cursor node:ExternalIdentity
ExternalIdentity id guid user:User
ExternalIdentity samlIdentity:ExternalIdentitySamlAttributes scimIdentity:ExternalIdentityScimAttributes
ExternalIdentitySamlAttributes nameId username givenName familyName emails:UserEmailMetadata
ExternalIdentityScimAttributes username givenName familyName emails:UserEmailMetadata
UserEmailMetadata primary type value
OrganizationMemberConnection totalCount pageInfo:PageInfo nodes:User edges:OrganizationMemberEdge
OrganizationMemberEdge cursor role hasTwoFactorEnabled node:User
PageInfo hasNextPage hasPreviousPage startCursor endCursor
User id databaseId login name email url createdAt organizationVerifiedDomainEmails
"""


def _parsed(text: str) -> dict[str, dict[str, str]]:
    schema: dict[str, dict[str, str]] = {}
    for line in text.split("\n"):
        name, *fields = line.split() or [""]
        for one in fields:
            known, _, target = one.partition(":")
            schema.setdefault(name, {})[known] = target
    return schema


SCHEMA = _parsed(_TEXT)
CONNECTIONS = ("externalIdentities", "membersWithRole")
NODES = 500_000
