//! What the guides to IAM ask to be watched, and which detections do it.
//!
//! A detection belongs to a practice by where it stands in the pack, `iam/user-created`, or by a tag; so a practice that
//! nothing watches shows as a gap, and a detection on identities that no practice names is found by a test.

use std::path::Path;

use crate::sigma::Rule;

/// Something that the guides ask to be watched.
#[derive(Debug)]
pub struct Practice<'r> {
    /// Whose: root, users, groups and the like.
    pub area: &'static str,
    /// What is to be watched.
    pub subject: &'static str,
    /// The detections that do.
    pub rules: Vec<&'r Rule>,
}

/// All practices, those that no detection covers included.
#[must_use]
pub fn practices(rules: &[Rule]) -> Vec<Practice<'_>> {
    let practice = |&(area, subject, words): &(&'static str, &'static str, &str)| Practice {
        area,
        subject,
        rules: rules.iter().filter(|rule| words.split_whitespace().any(|word| covers(word, rule))).collect(),
    };
    PRACTICES.iter().map(practice).collect()
}

/// Whether a word means a rule: a tag, or the end of its path, an asterisk standing for the rest.
fn covers(word: &str, rule: &Rule) -> bool {
    if let Some(tag) = word.strip_prefix("tag:") {
        return rule.tags.iter().any(|known| known == tag);
    }
    let path = Path::new(&*rule.place.file).with_extension("");
    let mut parts = path.iter().rev().filter_map(|part| part.to_str());
    let (Some(slug), Some(folder)) = (parts.next(), parts.next()) else { return false };
    match word.split_once('/') {
        Some((wanted, name)) if wanted == folder => match name.strip_suffix('*') {
            Some(begin) => slug.starts_with(begin),
            None => slug == name,
        },
        _ => false,
    }
}

/// Area, subject, and what means the detections.
#[rustfmt::skip]
const PRACTICES: &[(&str, &str, &str)] = &[
    ("root", "signs in, with or without MFA", "signin/root-console-login"),
    ("root", "sign-in fails, or is guessed at", "signin/root-console-login-failed signin/root-password-guessed signin/root-tried-in-many-accounts root/password-recovery-requested"),
    ("root", "does anything", "root/activity"),
    ("root", "does what only root can", "root/billing-access-changed root/account-closed root/email-* root/password-changed root/mfa-delete-changed"),
    ("root", "access key: created, switched on, used", "root/access-key-*"),
    ("root", "signing certificate", "root/signing-certificate-added"),
    ("root", "MFA: added, removed", "root/mfa-added root/mfa-removed"),
    ("root", "MFA delete of a bucket", "root/mfa-delete-changed"),
    ("root", "password and address of the account", "root/password-* root/email-*"),
    ("root", "contacts of the account", "account/contact-changed account/security-contact-changed"),
    ("root", "closing of the account", "root/account-closed organizations/account-closed"),
    ("root", "sessions by sts:AssumeRoot", "root/session-* sts/root-session-audited-by-new-caller"),
    ("root", "central management of root", "root/central-management-*"),
    ("users", "created, deleted, renamed", "iam/user-created iam/user-deleted iam/user-or-group-renamed iam/identity-created-by-hand iam/users-changed-by-compute"),
    ("users", "access to the console", "iam/login-profile-* iam/password-set-then-used-from-same-address iam/own-password-changed"),
    ("users", "sign-in without MFA", "signin/console-login-without-mfa tag:cis.aws.v5.0.4.2"),
    ("users", "sign-in fails, or is guessed at", "signin/console-login-failed signin/password-* signin/passwords-* signin/mfa-codes-guessed signin/success-after-many-failures"),
    ("users", "sign-in from elsewhere", "signin/user-from-* signin/console-login"),
    ("users", "inline policies", "iam/user-inline-policy-*"),
    ("users", "policies attached to them instead of a group", "iam/user-managed-policy-attached"),
    ("users", "given everything", "iam/administrator-access-attached iam/user-added-to-admin-group iam/user-created-then-made-administrator iam/own-permissions-widened"),
    ("groups", "created, deleted", "iam/group-created iam/group-deleted"),
    ("groups", "membership", "iam/user-added-to-* iam/user-removed-from-group"),
    ("groups", "inline policies", "iam/group-inline-policy-*"),
    ("roles", "created", "iam/role-created iam/role-created-* iam/service-linked-role-created"),
    ("roles", "who may assume them", "iam/role-trust-* iam/role-trusts-another-account iam/role-created-open*"),
    ("roles", "inline policies", "iam/role-inline-policy-*"),
    ("roles", "assumed as never before", "sts/role-* sts/roles-tried first-seen/sensitive-call-by-role"),
    ("roles", "from outside AWS", "rolesanywhere/* iam/oidc-provider-* iam/saml-provider-changed sts/web-identity-* sts/saml-issuer-first-seen"),
    ("roles", "given to machines", "iam/instance-profile-given-role ec2/instance-profile-changed"),
    ("policies", "attached, detached", "iam/managed-policy-* iam/administrator-access-*"),
    ("policies", "created, changed, deleted", "iam/customer-policy-changed iam/policy-version-*"),
    ("policies", "older version taken up again", "iam/policy-version-made-default"),
    ("policies", "allow everything, or IAM", "iam/policy-allows-* iam/policy-padded"),
    ("policies", "changes refused", "iam/permission-change-denied iam/credential-change-denied"),
    ("policies", "permissions boundaries", "iam/permissions-boundary-*"),
    ("policies", "delegation of rights", "iam/delegation-accepted iam/outbound-federation-enabled iam/token-version-changed"),
    ("password policy", "upper-case letters", "tag:cis.aws.v1.2.1.5 iam/password-policy-changed iam/password-policy-deleted"),
    ("password policy", "lower-case letters", "tag:cis.aws.v1.2.1.6 iam/password-policy-changed iam/password-policy-deleted"),
    ("password policy", "symbols", "tag:cis.aws.v1.2.1.7 iam/password-policy-changed iam/password-policy-deleted"),
    ("password policy", "digits", "tag:cis.aws.v1.2.1.8 iam/password-policy-changed iam/password-policy-deleted"),
    ("password policy", "fourteen characters", "tag:cis.aws.v1.2.1.9 iam/password-policy-changed iam/password-policy-deleted"),
    ("password policy", "no password again", "tag:cis.aws.v1.2.1.10 iam/password-policy-changed iam/password-policy-deleted"),
    ("password policy", "an end after 90 days", "tag:cis.aws.v1.2.1.11 iam/password-policy-without-expiry iam/password-policy-changed iam/password-policy-deleted"),
    ("credentials", "access keys", "iam/access-key-* iam/key-for-another-user-used-from-same-address iam/own-key-used-from-elsewhere iam/credential-removed"),
    ("credentials", "access keys used as never before", "sts/caller-identity-from-new-network first-seen/network-of-access-key first-seen/user-agent-of-access-key"),
    ("credentials", "SSH keys", "iam/ssh-key-uploaded iam/credential-removed"),
    ("credentials", "signing certificates", "iam/signing-certificate-uploaded iam/credential-removed"),
    ("credentials", "server certificates", "iam/server-certificate-uploaded"),
    ("credentials", "for one service (Git, Cassandra, Bedrock)", "iam/service-credential-created bedrock/api-key-user-acts-elsewhere iam/credential-removed"),
    ("credentials", "MFA devices", "iam/mfa-device-* sts/mfa-device-first-seen sts/session-token-without-mfa iam/changed-with-session-token"),
    ("credentials", "temporary ones of users", "sts/federation-token-* signin/console-session-of-*"),
    ("credentials", "quarantined by AWS", "iam/quarantine-* iam/quarantined-*"),
    ("Access Analyzer", "switched off, findings hidden", "access-analyzer/*"),
    ("Identity Center", "sign-in is guessed at, or from elsewhere", "signin/identity-center-passwords-guessed identity-center/device-code-* signin/session-from-new-network"),
    ("Identity Center", "instance, provider, tokens", "identity-center/instance-* identity-center/identity-provider-changed identity-center/provisioning-token-created identity-center/token-issuer-changed identity-center/access-attributes-changed"),
    ("Identity Center", "users, groups, passwords, MFA", "identity-center/user-* identity-center/group-* identity-center/password-reset identity-center/mfa-*"),
    ("Identity Center", "permission sets and assignments", "identity-center/permission-set-* identity-center/assignment-*"),
    ("organization", "policies (SCP and others)", "organizations/scp-* organizations/policy-* organizations/resource-policy-changed"),
    ("organization", "accounts come, go, move", "organizations/account-* organizations/organization-* organizations/payment-transferred organizations/handshake-answered organizations/unit-changed"),
    ("organization", "delegated and trusted services", "organizations/delegated-administrator-* organizations/service-access-*"),
    ("looking around", "who has which rights", "iam/authorization-details-read iam/read iam/password-policy-read iam/principals-guessed organizations/structure-* sts/access-key-looked-up discovery/user-explores-the-account"),
    ("everything else", "of IAM", "iam/account-alias-changed iam/changed iam/changed-from-cloudshell iam/s3-browser-used"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rulebook::{Pack, Rulebook};
    use crate::sigma::Tuning;

    fn pack() -> Vec<Rule> {
        Rulebook::tuned(&[], Pack::Runs, None, &Tuning::off_too()).rules
    }

    #[test]
    fn every_word_means_a_detection() {
        let rules = pack();
        for (_, subject, words) in PRACTICES {
            for word in words.split_whitespace() {
                assert!(rules.iter().any(|rule| covers(word, rule)), "{subject}: {word}");
            }
        }
    }

    #[test]
    fn every_detection_on_identities_belongs_to_a_practice() {
        let rules = pack();
        let practices = practices(&rules);
        for rule in rules.iter().filter(|rule| !rule.muted) {
            let file = &*rule.place.file;
            let is_ours = ["iam", "root", "identity-center", "access-analyzer", "rolesanywhere"]
                .iter()
                .any(|folder| file.starts_with(&format!("pack/{folder}/")));
            let known = practices.iter().any(|practice| practice.rules.iter().any(|own| own.id == rule.id));
            assert!(known || !is_ours, "{file}");
        }
    }
}
