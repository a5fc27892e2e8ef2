/** Every resource type of the language, so that one this build does not have yet gets a better hint than a typing error. */

export const KNOWN_TYPES: ReadonlySet<string> = new Set(
  `
  acl alternatives blockinfile certificate_windows cisco_acl cisco_interface cisco_vlan cron custom directory docker_compose
  docker_container docker_image domain_membership exec field_edit file file_line firewall gem git group host hostname iis_app_pool
  iis_site ini json_file junos_interface kernel_module local_security_policy logrotate mount network_acl network_banner
  network_config network_dns network_interface network_ntp network_snmp network_static_route network_syslog network_user
  network_vlan nonrepo_package npm package pip powershell process reboot reboot_windows registry replace repository selinux
  service service_recovery_windows smb_share source_package ssh_exec sshkey swap symlink sysctl systemd_dropin timezone tmpfile
  user windows_defender windows_env windows_feature windows_update
`
    .trim()
    .split(/\s+/),
);
