# shellcheck shell=bash
# Installs Debian packages that tests need. To be sourced. Each is named as package:program, or as one word for both.

missing_packages() {
	local need
	for need in "$@"; do
		PATH=$PATH:/usr/sbin:/sbin command -v "${need#*:}" >/dev/null || echo "${need%%:*}"
	done
}

may_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

# install_packages waits for others that install something, as a machine does when it has started.
install_packages() {
	local options=(-q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
	export DEBIAN_FRONTEND=noninteractive
	apt-get "${options[@]}" update </dev/null
	apt-get "${options[@]}" install -y --no-install-recommends "$@" </dev/null
}

# require_packages installs those that are missing, where it may, and sets missing to those that still are.
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
