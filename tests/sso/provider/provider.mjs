// An OpenID Connect provider, configured by the JSON file that is named. Its users and their groups are a file, too,
// which is read whenever a token is made, so that a group can be taken away.
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { Provider } from "oidc-provider";

const { port, tls, client, users, unrefreshed } = JSON.parse(readFileSync(process.argv[2]));

const provider = new Provider(`https://localhost:${port}`, {
  clients: [{ ...client, grant_types: ["authorization_code", "refresh_token"] }],
  scopes: ["openid", "email", "groups"],
  claims: { openid: ["sub"], email: ["email", "email_verified"], groups: ["groups"] },
  conformIdTokenClaims: false, // claims stand in the ID token itself
  issueRefreshToken: (_, __, code) => !unrefreshed.includes(code.accountId),
  ttl: { IdToken: 60 },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: id, email_verified: true, groups: JSON.parse(readFileSync(users))[id] ?? [] }),
  }),
});

createServer(tls, provider.callback()).listen(port, "127.0.0.1");
