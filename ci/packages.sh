# shellcheck shell=bash
# Installs Debian packages that tests need. Other scripts source this file. A need is package:program, or one word for both.

missing_packages() {
	local need
	for need in "$@"; do
		PATH=$PATH:/usr/sbin:/sbin command -v "${need#*:}" >/dev/null || echo "${need%%:*}"
	done
}

may_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

# install_packages waits while another program installs packages, as a new machine does at its start.
install_packages() {
	local options=(-q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
	export DEBIAN_FRONTEND=noninteractive
	apt-get "${options[@]}" update </dev/null
	apt-get "${options[@]}" install -y --no-install-recommends "$@" </dev/null
}

# require_packages installs missing packages if it may. It sets missing to those that are still missing.
require_packages() {
	missing=$(missing_packages "$@")
	if [ -n "$missing" ] && may_install; then
		# shellcheck disable=SC2086 # one word for each package
		install_packages $missing || true
		missing=$(missing_packages "$@")
	fi
	if [ -n "$missing" ]; then
		printf 'missing, install it for the tests that need it:\n%s\n' "$missing" >&2
	fi
}
